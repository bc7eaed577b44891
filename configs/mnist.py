"""Handwritten digits of 28x28 pixels; needs `--data_dir` with the original MNIST (or binarized MNIST) files.

`get_config(arg)`: variant= a key of _VARIANTS below (default: static), and runlocal for a run of seconds. All but
static run as well with `--config.data.name=fashion_mnist`, `kmnist`, `omniglot28` or `mnist_5k`.
"""

from base import apply_variant, set_autoencoder, set_began, set_vae, shorten
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
    _restore(config)
    config.data.corruption.name = "gaussian"
    config.data.corruption.scale = 0.5


def _denoising_salt(config):
    """The picture from one in which a fifth of the pixels are black or white."""
    _restore(config)
    config.data.corruption.name = "salt_and_pepper"
    config.data.corruption.probability = 0.2


def _denoising_masking(config):
    """The picture from half of its pixels."""
    _restore(config)
    config.data.corruption.name = "masking"
    config.data.corruption.probability = 0.5


def _inpainting(config):
    """The picture from one that lacks a square of 12 x 12 pixels."""
    _restore(config)
    config.data.corruption.name = "block_masking"
    config.data.corruption.size = 12


def _restore(config):
    """An autoencoder of MLP-Mixers over patches of 4x4 pixels with a code of 512: it leaves out damage, not detail."""
    set_autoencoder(config)
    config.model.latent = 512
    config.model.encoder.name = "mixer"
    config.model.encoder.hidden = None
    config.model.encoder.patch = 4
    config.model.encoder.width = 96
    config.model.encoder.depth = 2
    config.hypers.learning_rate = 6e-3
    config.schedule.name = "warmup_cosine"
    config.train.clip_norm = 1.0
    config.train.ema_decay = 0.999
    config.train.epochs = 28
    config.train.eval_every_epochs = 4


def _conv(config):
    """The convolutional VAE 32-64-256-16 with dynamic binarization."""
    set_vae(config)
    config.data.pixels = "dynamic"
    config.model.latent = 16
    config.model.encoder.name = "conv"
    config.model.encoder.channels = (32, 64)
    config.model.encoder.hidden = (256,)


def _clustering(config):
    """The network of deep embedded clustering (Xie et al. 2016), 784-500-500-2000-10, ReLU, and back; trained whole.

    The strong weight decay is what parts the classes: without it k-means finds 76 % of them right.
    """
    set_autoencoder(config)
    config.model.latent = 10
    config.model.encoder.hidden = (500, 500, 2000)
    config.optimizer.name = "adamw"
    config.hypers.weight_decay = 1.0
    config.schedule.name = "warmup_cosine"
    config.train.batch_size = 256
    config.train.epochs = 80
    config.train.eval_every_epochs = 5


def _search(config):
    """A code of 16 numbers to look for neighbours in: 784-500-500-16 and back, with normal noise of 0.5 added first."""
    set_autoencoder(config)
    config.data.corruption.name = "gaussian"
    config.data.corruption.scale = 0.5
    config.model.latent = 16
    config.model.encoder.hidden = (500, 500)
    config.schedule.name = "warmup_cosine"
    config.train.epochs = 12


def _lossless(config):
    """For lossless compression of all 8 bits: a VAE 784-500-500-50 that gives a mass to each of the 256 levels."""
    _code_length(config, "beta_binomial", pixels="uint8")
    config.optimizer.name = "adamw"
    config.hypers.weight_decay = 0.05
    config.hypers.kl_warmup_epochs = 15.0
    config.train.epochs = 72
    config.train.eval_every_epochs = 4


def _lossless_binary(config):
    """For lossless compression of binarized digits: a VAE 784-500-500-50, with dynamic binarization."""
    _code_length(config, "bernoulli", pixels="dynamic")
    config.optimizer.eps = 1e-4
    config.hypers.kl_warmup_epochs = 30.0
    config.train.epochs = 300
    config.train.eval_every_epochs = 20


def _code_length(config, likelihood, pixels):
    set_vae(config, likelihood)
    config.data.pixels = pixels
    config.model.latent = 50
    config.model.encoder.hidden = (500, 500)
    config.model.encoder.activation = "tanh"
    config.schedule.name = "warmup_cosine"
    config.hypers.learning_rate = 2e-3
    config.train.batch_size = 200
    config.train.ema_decay = 0.999
    config.evaluate.num_importance_samples = 10


def _began(config):
    """An autoencoder inside a GAN: 784-256-128-64-32 and back, and a generator like the way back.

    With gamma=1, linear outputs and 16 latents its generator collapsed (docs/began.md).
    """
    set_began(config, gamma=1.5, distance="sigmoid_mae")
    config.model.latent = 32
    config.model.encoder.hidden = (256, 128, 64)
    config.model.encoder.activation = "gelu"
    config.train.batch_size = 64
    config.train.epochs = 40
    config.train.eval_every_epochs = 5
    config.train.halve_patience_epochs = 5
    config.train.ema_decay = 0.999


_VARIANTS = {
    "static": _static,
    "dynamic": _dynamic,
    "cvae": _cvae,
    "autoencoder": _autoencoder,
    "linear": _linear,
    "denoising": _denoising,
    "denoising_salt": _denoising_salt,
    "denoising_masking": _denoising_masking,
    "inpainting": _inpainting,
    "conv": _conv,
    "began": _began,
    "clustering": _clustering,
    "search": _search,
    "lossless": _lossless,
    "lossless_binary": _lossless_binary,
}
