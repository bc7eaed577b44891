"""The zoo: one VAE, other posteriors and priors. Static binarized MNIST, 784-200-200-40 and back; needs `--data_dir`.

`get_config(arg)`: variant= a key of _VARIANTS below (default: vamp), and runlocal for a run of seconds. Figures of
each: docs/zoo.md.
"""

from base import apply_variant, set_vae, set_zoo, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_vae(set_zoo(get_base()))
    if apply_variant(config, arg, _VARIANTS, default="vamp"):
        shorten(config)
    return config


def _full_covariance(config):
    """A normal posterior with all covariances (Kingma and Welling 2019, algorithm 2)."""
    config.model.posterior.name = "full_covariance"


def _planar(config):
    """A posterior of 8 planar layers (Rezende and Mohamed 2015, equation 10)."""
    config.model.posterior.name = "planar"


def _householder(config):
    """A posterior of 8 reflections (Tomczak and Welling 2016, equation 8)."""
    config.model.posterior.name = "householder"


def _iaf(config):
    """A posterior of 2 inverse autoregressive layers (Kingma et al. 2016, equations 10 to 14)."""
    config.model.posterior.name = "iaf"


def _vamp(config):
    """The prior is the mean posterior of 500 learned pictures (Tomczak and Welling 2018, equation 9)."""
    config.model.prior.name = "vamp"


def _mixture(config):
    """The prior is a mixture of 10 normals, learned from scratch (GMVAE; Jiang et al. 2017, section 3.1)."""
    config.model.prior.name = "mixture"


def _flow_prior(config):
    """The prior is a flow of 4 coupling layers (Dinh et al. 2017; Chen et al. 2017)."""
    config.model.prior.name = "flow"


def _hyperspherical(config):
    """A von Mises-Fisher posterior and the uniform prior on a sphere (Davidson et al. 2018)."""
    config.model.posterior.name = "von_mises_fisher"
    config.model.prior.name = "uniform_sphere"
    config.model.latent = 10


def _gumbel(config):
    """20 one-hot vectors of 10, straight-through Gumbel-softmax (Jang et al. 2017, section 2.2)."""
    config.model.posterior.name = "gumbel_softmax"
    config.model.prior.name = "uniform_categories"
    config.model.latent = 200


def _joint(config):
    """10 normal numbers and a one-hot vector of 10, with capacities (JointVAE; Dupont 2018, equation 7)."""
    config.model.posterior.name = config.model.prior.name = "joint"
    config.model.latent = 20
    config.model.objective.name = "joint_capacity"
    config.hypers.kl_warmup_epochs = None
    config.hypers.beta = 10.0
    config.hypers.capacity = 20.0
    config.hypers.discrete_capacity = 2.3
    config.hypers.capacity_epochs = 10.0


_VARIANTS = {
    "full_covariance": _full_covariance,
    "planar": _planar,
    "householder": _householder,
    "iaf": _iaf,
    "vamp": _vamp,
    "mixture": _mixture,
    "flow_prior": _flow_prior,
    "hyperspherical": _hyperspherical,
    "gumbel": _gumbel,
    "joint": _joint,
}
