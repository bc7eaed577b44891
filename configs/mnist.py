"""Handwritten digits of 28x28 pixels; needs `--data_dir` with the original MNIST (or binarized MNIST) files.

`get_config(arg)`: variant=static | dynamic | cvae | autoencoder | linear | denoising | conv, and runlocal for a run of
seconds. All but static run as well with `--config.data.name=fashion_mnist`, `kmnist`, `omniglot28` or `mnist_5k`.
"""

from base import apply_variant, set_autoencoder, set_vae, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = get_base()
    config.data.name = "mnist"
    config.model.latent = 20
    config.model.encoder.hidden = (500,)
    if apply_variant(config, arg, _VARIANTS, default="static"):
        shorten(config)
    return config


def _static(config):
    """The network and the budget of the Flax example: 784-500-20, Adam 1e-3, batch 128, 10 epochs."""
    set_vae(config)
    config.data.name = "binarized_mnist"


def _dynamic(config):
    """The one-layer network of Burda et al. (2016): 784-200-200-50, tanh; a shorter schedule than theirs."""
    set_vae(config)
    config.data.pixels = "dynamic"
    config.model.latent = 50
    config.model.encoder.hidden = (200, 200)
    config.model.encoder.activation = "tanh"
    config.schedule.name = "warmup_cosine"
    config.hypers.learning_rate = 3e-3
    config.train.batch_size = 200
    config.train.epochs = 300
    config.train.eval_every_epochs = 10


def _cvae(config):
    """A digit on request: encoder and decoder see the label. Four latents hold the style, and leave the digit alone."""
    set_vae(config)
    config.data.pixels = "dynamic"
    config.model.condition = True
    config.model.latent = 4
    config.model.encoder.hidden = (500, 500)
    config.schedule.name = "warmup_cosine"
    config.train.epochs = 30


def _autoencoder(config):
    """The classic one: 784 -> 500 -> 20 and back, mean squared error."""
    set_autoencoder(config)


def _linear(config):
    """No hidden layer: its optimum is PCA."""
    set_autoencoder(config)
    config.model.encoder.hidden = ()


def _denoising(config):
    """The picture from the picture with normal noise of standard deviation 0.5 added."""
    set_autoencoder(config)
    config.model.latent = 128
    config.data.corruption.name = "gaussian"
    config.data.corruption.scale = 0.5


def _conv(config):
    """The convolutional VAE 32-64-256-16 with dynamic binarization."""
    set_vae(config)
    config.data.pixels = "dynamic"
    config.model.latent = 16
    config.model.encoder.name = "conv"
    config.model.encoder.channels = (32, 64)
    config.model.encoder.hidden = (256,)


_VARIANTS = {
    "static": _static,
    "dynamic": _dynamic,
    "cvae": _cvae,
    "autoencoder": _autoencoder,
    "linear": _linear,
    "denoising": _denoising,
    "conv": _conv,
}
