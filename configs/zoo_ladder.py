"""Ladder VAEs: layers of latents above each other; needs `--data_dir` with the original binarized MNIST files.

`get_config(arg)`: variant= a key of _VARIANTS below (default: two_layers), and runlocal for a run of seconds.
"""

from base import apply_variant, set_zoo, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_zoo(get_base())
    config.model.name = "ladder"
    config.model.likelihood.name = "bernoulli"
    config.hypers.beta = 1.0
    config.hypers.kl_warmup_epochs = 8.0
    config.hypers.free_bits = 1.0
    if apply_variant(config, arg, _VARIANTS, default="two_layers"):
        shorten(config)
    return config


def _two_layers(config):
    """32 latents below 8 (Sonderby et al. 2016), with warm-up and free bits."""
    config.model.above = (8,)


def _three_layers(config):
    """Layers of 32, 16 and 8 latents (Sonderby et al. 2016), with warm-up and free bits."""
    config.model.latent = 56
    config.model.above = (16, 8)


def _conv(config):
    """32 latents below 8 (Sonderby et al. 2016), between convolutions 32-64 with a dense layer of 256."""
    config.model.above = (8,)
    config.model.encoder.name = "conv"
    config.model.encoder.channels = (32, 64)
    config.model.encoder.hidden = (256,)
    config.model.encoder.activation = "relu"


_VARIANTS = {
    "two_layers": _two_layers,
    "three_layers": _three_layers,
    "conv": _conv,
}
