"""The main job: a VAE on scikit-learn's 1797 real handwritten digits (8x8), offline.

`get_config(arg)`: variant=vae | autoencoder | linear | denoising | cvae | conv | mixer | began, and runlocal for a
run of seconds.
"""

from base import apply_variant, set_autoencoder, set_began, set_vae
from base import get_config as get_base

from vae_jax.sweeps.points import grid


def get_config(arg=""):
    """Return the config of a variant; the plain VAE has a Gaussian likelihood with one learned scale."""
    config = set_vae(get_base(), "gaussian_shared_scale")
    config.model.encoder.hidden = (256, 128, 64)
    config.model.encoder.activation = "gelu"
    config.data.name = "digits"
    config.train.batch_size = 64
    config.train.epochs = 200
    config.train.steps_per_call = 100
    config.train.eval_every_epochs = 5
    config.train.ema_decay = 0.99
    config.schedule.name = "warmup_cosine"
    config.evaluate.num_importance_samples = 1000
    if apply_variant(config, arg, _VARIANTS, default="vae"):
        config.train.epochs, config.train.eval_every_epochs = 10, 5
    return config


def _vae(config):
    """A two-dimensional code, so that the whole latent space can be looked at."""
    config.model.latent = 2


def _autoencoder(config):
    set_autoencoder(config)


def _linear(config):
    set_autoencoder(config)
    config.model.encoder.hidden = ()
    config.hypers.learning_rate = 3e-2


def _denoising(config):
    set_autoencoder(config)
    config.model.latent = 16
    config.data.corruption.name = "gaussian"
    config.data.corruption.scale = 0.25


def _cvae(config):
    config.model.condition = True


def _conv(config):
    config.model.encoder.name = "conv"
    config.model.encoder.channels = (32, 64)
    config.model.encoder.kernel = 3
    config.model.encoder.hidden = (128,)


def _mixer(config):
    """A denoising autoencoder of MLP-Mixers over patches of 2x2 pixels."""
    _denoising(config)
    config.model.encoder.name = "mixer"
    config.model.encoder.hidden = None
    config.model.encoder.patch = 2
    config.model.encoder.width = 32


def _began(config):
    """An autoencoder inside a GAN."""
    set_began(config, gamma=1.0)
    config.model.latent = 16
    config.train.halve_patience_epochs = 40


def sweep_beta():
    """Five weights of the KL divergence, ten seeds each."""
    return grid({"hypers.beta": (0.25, 0.5, 1.0, 2.0, 4.0), "seed": range(10)})


def sweep_variants():
    """Each variant once."""
    return grid({"variant": _VARIANTS})


_VARIANTS = {
    "vae": _vae,
    "autoencoder": _autoencoder,
    "linear": _linear,
    "denoising": _denoising,
    "cvae": _cvae,
    "conv": _conv,
    "mixer": _mixer,
    "began": _began,
}
