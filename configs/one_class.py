"""One model per class for one-class anomaly detection, all ten in one program: `scripts/one_class.py`.

`get_config(arg)`: variant=mnist | fashion_mnist | digits, and runlocal for a run of seconds. The first two need
`--data_dir` with the original files. All are the same VAE with a Gaussian likelihood of one learned scale.
"""

from base import apply_variant, set_gray_vae
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_gray_vae(get_base())
    config.model.latent = 32
    config.model.encoder.hidden = (500,)
    config.schedule.name = "warmup_cosine"
    config.train.epochs = 20
    config.train.eval_every_epochs = 5
    config.evaluate.num_importance_samples = 20
    if apply_variant(config, arg, _VARIANTS, default="digits"):
        config.train.epochs = config.train.eval_every_epochs = config.train.epochs * 3 // 10
        config.evaluate.num_importance_samples = 5
    return config


def _mnist(config):
    config.data.name = "mnist"


def _fashion_mnist(config):
    config.data.name = "fashion_mnist"


def _digits(config):
    """The embedded digits: 130 pictures of 8x8 a class."""
    config.model.latent = 8
    config.model.encoder.hidden = (128,)
    config.train.batch_size = 32
    config.train.epochs = 100
    config.train.eval_every_epochs = 10


_VARIANTS = {"mnist": _mnist, "fashion_mnist": _fashion_mnist, "digits": _digits}
