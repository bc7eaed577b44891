"""Sprites: dSprites' 737280 pictures of 64x64 pixels of 0 and 1 with their factors, drawn when read; needs no files.

`get_config(arg)`: runlocal for a run with narrow layers. An epoch is 663552 pictures. With --config.data.name=dsprites
and `--data_dir` the same from the published file.
"""

from base import apply_variant, set_vae
from base import get_config as get_base


def get_config(arg=""):
    """Return two layers of 1200 units to 10 latents, the encoder of Higgins et al. (2017, table 1), mirrored."""
    config = get_base()
    config.data.name = "sprites"
    config.train.batch_size = 256
    config.train.epochs = 1
    config.evaluate.num_importance_samples = 1
    if apply_variant(config, arg, _VARIANTS, default="beta"):
        config.model.encoder.hidden = (100,)
    return config


def _beta(config):
    """Weigh the KL divergence by 4, and every latent is asked to pay for itself."""
    set_vae(config)
    config.model.latent = 10
    config.model.encoder.hidden = (1200, 1200)
    config.hypers.beta = 4.0


_VARIANTS = {"beta": _beta}
