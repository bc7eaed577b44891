"""Discrete codes on static binarized MNIST; needs `--data_dir` with its files. The setting is that of the zoo.

`get_config(arg)`: variant= a key of _VARIANTS below (default: vq), and runlocal for a run of seconds.
"""

from base import apply_variant, set_zoo, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_zoo(get_base())
    config.model.name = "vq"
    config.model.likelihood.name = "bernoulli"
    config.model.positions = 10
    if apply_variant(config, arg, _VARIANTS, default="vq"):
        shorten(config)
    return config


def _vq(config):
    """VQ-VAE: ten entries of a codebook of 32 that gradients move (van den Oord et al. 2017, equation 3)."""
    config.model.quantizer.name = "vq"
    config.model.quantizer.codes = 32
    config.hypers.commitment = 0.25


def _vq_ema(config):
    """VQ-VAE whose codebook follows moving averages (van den Oord et al. 2017, appendix A.1)."""
    config.model.quantizer.name = "vq_ema"
    config.model.quantizer.codes = 32
    config.hypers.commitment = 0.25


def _residual_vq(config):
    """Four entries, each a sum of codes of four codebooks of eight (Zeghidour et al. 2021, algorithm 1)."""
    config.model.quantizer.name = "residual_vq"
    config.model.positions = 4
    config.model.quantizer.codes = 8
    config.hypers.commitment = 0.25


def _fsq(config):
    """Finite scalar quantization: ten entries of two numbers, each rounded to 5 levels (Mentzer et al. 2024)."""
    config.model.quantizer.name = "fsq"
    config.model.quantizer.levels = (5, 5)
    config.model.latent = 20


def _conv(config):
    """The VQ-VAE of moving averages with an entry for each of 7 x 7 places of a convolutional encoder."""
    _vq_ema(config)
    config.model.positions = 49
    config.model.latent = 196
    config.model.encoder.name = "conv"
    config.model.encoder.channels = (32, 64)
    config.model.encoder.hidden = ()
    config.model.encoder.activation = "relu"


_VARIANTS = {
    "vq": _vq,
    "vq_ema": _vq_ema,
    "residual_vq": _residual_vq,
    "fsq": _fsq,
    "conv": _conv,
}
