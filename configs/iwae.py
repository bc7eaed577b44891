"""The one-layer rows of table 1 in Burda et al. (2016), importance weighted autoencoders; needs `--data_dir`.

784-200-200-50 and back, tanh, on MNIST binarized anew each epoch. `get_config(arg)`: variant= a key of _VARIANTS below
(default: vae_1, which is iwae_1 as well), and runlocal for a run of seconds. `scripts/reproduce.py --table=iwae` trains
all and sets them beside the published figures. The paper took 3280 epochs of batches of 20, on the validation pictures
too; here batches are larger, rates fall along a cosine, and the parameters that are judged are moving averages.
"""

from base import apply_variant, set_vae, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_vae(get_base())
    config.data.name = "mnist"
    config.data.pixels = "dynamic"
    config.model.latent = 50
    config.model.encoder.hidden = (200, 200)
    config.model.encoder.activation = "tanh"
    config.hypers.learning_rate = 3e-3
    config.optimizer.eps = 1e-4
    config.schedule.name = "warmup_cosine"
    config.train.batch_size = 200
    config.train.precision = "bf16"
    config.train.epochs = 1000
    config.train.eval_every_epochs = 20
    config.train.ema_decay = 0.999
    config.evaluate.num_importance_samples = 5000
    if apply_variant(config, arg, _VARIANTS, default="vae_1"):
        shorten(config)
    return config


def _vae_1(config):
    """The ELBO, one draw."""


def _vae_5(config):
    """The ELBO, the mean of 5 draws."""
    _draws(config, 5, batch_size=100, learning_rate=3e-3, epochs=600)


def _vae_50(config):
    """The ELBO, the mean of 50 draws."""
    _draws(config, 50, batch_size=50, learning_rate=2e-3, epochs=200)


def _iwae_5(config):
    """The importance-weighted bound of 5 draws."""
    _draws(config, 5, batch_size=50, learning_rate=1e-3, epochs=600)
    _importance_weighted(config)


def _iwae_50(config):
    """The importance-weighted bound of 50 draws."""
    _draws(config, 50, batch_size=50, learning_rate=1e-3, epochs=500)
    _importance_weighted(config)


def _draws(config, num_samples, batch_size, learning_rate, epochs):
    """Several draws keep the cores busy in smaller batches too, so there are more steps for the same time."""
    config.model.num_samples = num_samples
    config.train.batch_size = batch_size
    config.hypers.learning_rate = learning_rate
    config.train.epochs = epochs
    config.train.eval_every_epochs = epochs // 10


def _importance_weighted(config):
    """The bound has no beta."""
    config.model.objective.name = "iwae"
    config.hypers.beta = config.hypers.kl_warmup_epochs = None


_VARIANTS = {"vae_1": _vae_1, "vae_5": _vae_5, "vae_50": _vae_50, "iwae_5": _iwae_5, "iwae_50": _iwae_50}
