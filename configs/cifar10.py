"""CIFAR-10's photographs of 32x32 RGB pixels, as picture files.

`--data_dir` is the folder of them, with train/CLASS/*.jpg and test/CLASS/*.jpg; for the published binary archive
instead give --config.data.name=cifar10. `get_config(arg)`: variant=vae | autoencoder | colorize, and runlocal for a run
of seconds.
"""

from base import apply_variant, set_autoencoder, set_gray_vae, shorten
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
    """The picture in colour from its luminance."""
    set_autoencoder(config)
    config.data.corruption.name = "gray"


_VARIANTS = {"vae": set_gray_vae, "autoencoder": set_autoencoder, "colorize": _colorize}
