"""Your own pictures: `--data_dir` is a folder of them, of any sizes, in sub-folders by class or not.

`get_config(arg)`: variant=vae | autoencoder, and runlocal for a run of seconds. They become 64x64 RGB; set
--config.data.size and --config.data.channels for another shape, and --config.data.on_error=skip to leave out what
cannot be read.
"""

from base import apply_variant, set_autoencoder, set_gray_vae, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = get_base()
    config.data.name = "folder"
    config.data.size = (64,)
    config.data.channels = 3
    config.model.latent = 64
    config.model.encoder.name = "conv"
    config.model.encoder.channels = (32, 64, 128)
    config.model.encoder.hidden = (256,)
    config.train.batch_size = 64
    config.train.epochs = 50
    config.train.eval_every_epochs = 5
    config.schedule.name = "warmup_cosine"
    if apply_variant(config, arg, _VARIANTS, default="vae"):
        shorten(config)
    return config


_VARIANTS = {"vae": set_gray_vae, "autoencoder": set_autoencoder}
