"""The zoo: autoencoders against a discriminator, of codes or of pictures; gray MNIST. Figures of each: docs/zoo.md.

`get_config(arg)`: variant= a key of _VARIANTS below (default: aae), and runlocal for a run of seconds. Both players
have the Adam of Radford et al. (2016), with b1 = 0.5, and the last parameters are kept.
"""

from base import apply_variant, set_autoencoder, set_zoo, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_autoencoder(set_zoo(get_base()))
    config.data.name = "mnist"
    config.model.latent = 16
    config.optimizer.b1 = 0.5
    config.train.select = "last"
    if apply_variant(config, arg, _VARIANTS, default="aae"):
        shorten(config)
    return config


def _aae(config):
    """Adversarial autoencoder: codes that a discriminator takes for N(0, I) (Makhzani et al. 2016, section 2)."""
    config.model.name = "aae"
    config.model.discriminator.name = "mlp"
    config.model.discriminator.hidden = (200, 200)
    config.hypers.adversary_weight = 0.01


def _vae_gan(config):
    """VAE-GAN: pictures compared in the features of their discriminator (Larsen et al. 2016, algorithm 1)."""
    config.model.name = "vae_gan"
    config.model.distance.name = None
    config.model.discriminator.name = "mlp"
    config.model.discriminator.hidden = (500,)
    config.model.discriminator.activation = "leaky_relu"
    config.hypers.adversary_weight = 1.0
    config.hypers.beta = 1.0


_VARIANTS = {"aae": _aae, "vae_gan": _vae_gan}
