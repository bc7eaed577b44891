"""The same pictures at several resolutions: are larger ones blurrier?

The pictures are sprites, drawn when read; --config.data.size=8, 16, 32 or 64. `get_config(arg)`: variant=vae |
autoencoder | began, and runlocal for narrow layers. `scripts/look.py` on each run gives the sharpness of its
reconstructions and samples.
"""

from base import apply_variant, set_autoencoder, set_began, set_vae
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant; layers, latents and steps are the same at every resolution."""
    config = get_base()
    config.data.name = "sprites"
    config.data.size = (32,)
    config.model.latent = 16
    config.model.encoder.hidden = (500, 500)
    config.train.batch_size = 256
    config.train.epochs = 1
    config.evaluate.num_importance_samples = 1
    if apply_variant(config, arg, _VARIANTS, default="vae"):
        config.model.encoder.hidden = (50,)
    return config


def _vae(config):
    """Normal noise of one tenth on every pixel, at every resolution: with a learned scale small pictures collapse."""
    set_vae(config, "gaussian")
    config.model.likelihood.scale = 0.1


def _began(config):
    """Squared error: by the absolute one, whose optimum is the median, few sprites were left at 32x32 and 64x64."""
    set_began(config, gamma=0.7, distance="mse")
    config.model.latent = 32
    config.model.encoder.hidden = (256, 128, 64)
    config.model.encoder.activation = "gelu"
    config.hypers.learning_rate = 2e-4


_VARIANTS = {"vae": _vae, "autoencoder": set_autoencoder, "began": _began}
