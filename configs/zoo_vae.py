"""The zoo: one VAE, other objectives. Static binarized MNIST, 784-200-200-40 and back; needs `--data_dir`.

`get_config(arg)`: variant= a key of _VARIANTS below (default: vae), and runlocal for a run of seconds. Figures of each:
docs/zoo.md.
"""

from base import apply_variant, set_vae, set_zoo, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_vae(set_zoo(get_base()))
    if apply_variant(config, arg, _VARIANTS, default="vae"):
        shorten(config)
    return config


def _vae(config):
    """The ELBO itself (Kingma and Welling 2014, equation 7)."""


def _beta(config):
    """beta-VAE: the KL divergence weighs 4 (Higgins et al. 2017, equation 4)."""
    config.hypers.beta = 4.0


def _annealed(config):
    """The weight of the KL divergence rises from 0 to 1 (Bowman et al. 2016, section 3.1)."""
    config.hypers.kl_warmup_epochs = 10.0


def _cyclical(config):
    """It rises again and again, four times (Fu et al. 2019, equation 6)."""
    _objective(config, "cyclical", beta=1.0, kl_cycle_epochs=5.0)


def _capacity(config):
    """The KL divergence is held at a capacity that rises to 25 nats (Burgess et al. 2018, equation 8)."""
    _objective(config, "capacity", beta=10.0, capacity=25.0, capacity_epochs=10.0)


def _free_bits(config):
    """8 nats of the KL divergence cost nothing (the free bits of Kingma et al. 2016)."""
    _objective(config, "free_bits", free_bits=8.0)


def _cvae(config):
    """Encoder and decoder see the label of an MNIST digit (Sohn et al. 2015, equation 4)."""
    config.data.name = "mnist"
    config.data.pixels = "dynamic"
    config.model.condition = True


def _iwae(config):
    """The importance-weighted bound of 5 draws (Burda et al. 2016, equation 8)."""
    _objective(config, "iwae", num_samples=5)


def _iwae_50(config):
    """The importance-weighted bound of 50 draws (Burda et al. 2016, equation 8)."""
    _objective(config, "iwae", num_samples=50)


def _miwae(config):
    """The mean of 4 bounds of 2 draws each (MIWAE: Rainforth et al. 2018)."""
    _objective(config, "miwae", num_samples=8)
    config.model.objective.num_groups = 4


def _piwae(config):
    """That bound for the encoder, the one of all 8 draws for the decoder (PIWAE: Rainforth et al. 2018)."""
    _objective(config, "piwae", num_samples=8)
    config.model.objective.num_groups = 4


def _ciwae(config):
    """A mean of the ELBO and the bound of 8 draws (CIWAE: Rainforth et al. 2018)."""
    _objective(config, "ciwae", num_samples=8, elbo_share=0.05)


def _stl(config):
    """The ELBO by the path gradient alone (Roeder et al. 2017)."""
    _objective(config, "stl")


def _dreg(config):
    """The bound of 8 draws with doubly reparameterized gradients (Tucker et al. 2019)."""
    _objective(config, "dreg", num_samples=8)


def _renyi(config):
    """Renyi's bound of order 0.5 with 8 draws (Li and Turner 2016)."""
    _objective(config, "renyi", num_samples=8, alpha=0.5)


def _objective(config, name, num_samples=None, **hypers):
    config.model.objective.name = name
    config.model.num_samples = num_samples
    config.hypers.beta = config.hypers.kl_warmup_epochs = None
    for hyper, value in hypers.items():
        config.hypers[hyper] = value


_VARIANTS = {
    "vae": _vae,
    "beta": _beta,
    "annealed": _annealed,
    "cyclical": _cyclical,
    "capacity": _capacity,
    "free_bits": _free_bits,
    "cvae": _cvae,
    "iwae": _iwae,
    "iwae_50": _iwae_50,
    "miwae": _miwae,
    "piwae": _piwae,
    "ciwae": _ciwae,
    "stl": _stl,
    "dreg": _dreg,
    "renyi": _renyi,
}
