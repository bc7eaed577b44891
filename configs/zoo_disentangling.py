"""The zoo: a VAE whose latents are to be independent, on sprites (drawn when read; no files), 4096-400-400-10.

`get_config(arg)`: variant= a key of _VARIANTS below (default: beta_tcvae), and runlocal for narrow layers. Figures of
each: docs/zoo.md.
"""

from base import apply_variant, set_vae
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_vae(get_base())
    config.data.name = "sprites"
    config.model.latent = 10
    config.model.encoder.hidden = (400, 400)
    config.train.batch_size = 256
    config.train.epochs = 1
    config.train.select = "last"
    config.hypers.kl_warmup_epochs = None
    config.hypers.beta = None
    config.evaluate.num_importance_samples = 1
    if apply_variant(config, arg, _VARIANTS, default="beta_tcvae"):
        config.model.encoder.hidden = (100,)
    return config


def _beta(config):
    """beta-VAE: the KL divergence weighs 4 (Higgins et al. 2017, equation 4); what the others are compared with."""
    config.hypers.beta = 4.0
    config.hypers.kl_warmup_epochs = 0.0


def _factor(config):
    """FactorVAE: the total correlation weighs 6, by a discriminator (Kim and Mnih 2018, algorithm 2).

    The discriminator is a fifth as wide as theirs, 1000 units in each of 6 layers, and has half their depth.
    """
    config.model.name = "factor_vae"
    config.model.objective.name = None
    config.model.discriminator.name = "mlp"
    config.model.discriminator.hidden = (200, 200, 200)
    config.model.discriminator.activation = "leaky_relu"
    config.hypers.tc_weight = 6.0


def _beta_tcvae(config):
    """The total correlation weighs 6, by minibatch weighted sampling (Chen et al. 2018, equation 4)."""
    config.model.objective.name = "beta_tcvae"
    config.hypers.beta = 6.0


def _beta_tcvae_stratified(config):
    """The same with the unbiased density of all codes (minibatch stratified sampling: Chen et al. 2018)."""
    _beta_tcvae(config)
    config.model.objective.estimator = "stratified"


def _beta_tcvae_exact(config):
    """The same with the total correlation of the batch alone, exact for it (Chen et al. 2018, equation 4)."""
    _beta_tcvae(config)
    config.model.objective.estimator = "exact"


def _dip_i(config):
    """The covariance of the posterior means is drawn to I (Kumar et al. 2018, equation 6)."""
    config.model.objective.name = "dip_i"
    config.hypers.dip_off_diagonal = 10.0
    config.hypers.dip_diagonal = 100.0


def _dip_ii(config):
    """The covariance of all codes is drawn to I (Kumar et al. 2018, equation 7)."""
    config.model.objective.name = "dip_ii"
    config.hypers.dip_off_diagonal = config.hypers.dip_diagonal = 10.0


def _info(config):
    """InfoVAE: no KL divergence, but the MMD of all codes to the prior (Zhao et al. 2019)."""
    config.model.objective.name = "info_vae"
    config.hypers.beta = 0.0
    config.hypers.prior_weight = 1000.0


def _ada_gvae(config):
    """Ada-GVAE: pairs of pictures that differ in one factor, not told in which (Locatello et al. 2020)."""
    config.model.name = "ada_gvae"
    config.model.objective.name = config.model.posterior.name = None
    config.data.pairs = 1
    config.hypers.beta = 1.0


_VARIANTS = {
    "beta": _beta,
    "factor": _factor,
    "beta_tcvae": _beta_tcvae,
    "beta_tcvae_stratified": _beta_tcvae_stratified,
    "beta_tcvae_exact": _beta_tcvae_exact,
    "dip_i": _dip_i,
    "dip_ii": _dip_ii,
    "info": _info,
    "ada_gvae": _ada_gvae,
}
