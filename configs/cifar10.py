"""CIFAR-10's photographs of 32x32 RGB pixels, as picture files.

`--data_dir` is the folder of them, with train/CLASS/*.jpg and test/CLASS/*.jpg; for the published binary archive
instead give --config.data.name=cifar10. `get_config(arg)`: variant=vae | autoencoder | colorize | began, and runlocal
for a run of seconds.
"""

from base import apply_variant, set_autoencoder, set_began, set_gray_vae, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = get_base()
    config.data.name = "folder"
    config.model.latent = 128
    config.model.encoder.hidden = (1000,)
    config.schedule.name = "warmup_cosine"
    config.train.epochs = 20
    config.train.eval_every_epochs = 5
    if apply_variant(config, arg, _VARIANTS, default="vae"):
        shorten(config)
    return config


def _colorize(config):
    """The colour of a picture from its luminance."""
    set_autoencoder(config, "chroma")
    config.data.corruption.name = "gray"
    config.model.encoder.hidden = (1000, 500)
    config.hypers.learning_rate = 5e-4
    config.train.batch_size = 256
    config.train.eval_every_epochs = 1


def _began(config):
    """An autoencoder inside a GAN: 3072-256-128-64-64 and back, and a generator like the way back."""
    set_began(config, gamma=0.7)
    config.model.latent = 64
    config.model.encoder.hidden = (256, 128, 64)
    config.model.encoder.activation = "gelu"
    config.hypers.learning_rate = 3e-4
    config.hypers.k_rate = 0.01
    config.schedule.name = "constant"
    config.train.batch_size = 64
    config.train.halve_patience_epochs = 5
    config.train.ema_decay = 0.999


_VARIANTS = {"vae": set_gray_vae, "autoencoder": set_autoencoder, "colorize": _colorize, "began": _began}
