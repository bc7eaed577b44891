"""Clothes of 28x28 gray pixels; needs `--data_dir` with the original Fashion-MNIST files.

`get_config(arg)`: variant=vae | autoencoder, and runlocal for a run of seconds.
"""

from base import apply_variant, set_autoencoder, set_gray_vae, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = get_base()
    config.data.name = "fashion_mnist"
    config.model.latent = 20
    config.model.encoder.hidden = (500, 500)
    config.schedule.name = "warmup_cosine"
    config.train.epochs = 30
    config.train.eval_every_epochs = 5
    if apply_variant(config, arg, _VARIANTS, default="vae"):
        shorten(config)
    return config


_VARIANTS = {"vae": set_gray_vae, "autoencoder": set_autoencoder}
