"""The VAE rows of tables 1 and 2 in Tomczak and Welling (2018), VAE with a VampPrior; needs `--data_dir`.

784-300-300-40 and back with gated layers, a standard normal or a VampPrior of 500 pseudo-inputs. `get_config(arg)`:
variant= a key of _VARIANTS below (default: static_standard), and runlocal for a run of seconds.
`scripts/reproduce.py --table=vamp` trains all and sets them beside the published figures. The paper took batches of
100, up to 2000 epochs, a warm-up of 100 and early stopping; here batches are larger, rates fall along a cosine, and
the parameters that are judged are moving averages.
"""

from base import apply_variant, set_vae, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_vae(get_base())
    config.model.latent = 40
    config.model.encoder.name = "gated_mlp"
    config.model.encoder.hidden = (300, 300)
    config.hypers.learning_rate = 2e-3
    config.hypers.kl_warmup_epochs = 50.0
    config.schedule.name = "warmup_cosine"
    config.train.batch_size = 250
    config.train.precision = "bf16"
    config.train.epochs = 300
    config.train.eval_every_epochs = 10
    config.train.ema_decay = 0.999
    config.evaluate.num_importance_samples = 5000
    if apply_variant(config, arg, _VARIANTS, default="static_standard"):
        shorten(config)
    return config


def _static_standard(config):
    """Static binarized MNIST and a standard normal prior."""
    config.data.name = "binarized_mnist"


def _static_vamp(config):
    """Static binarized MNIST and the VampPrior, in half of the epochs, which give the published figure."""
    _static_standard(config)
    config.model.prior.name = "vamp"
    config.train.epochs //= 2
    config.hypers.kl_warmup_epochs /= 2


def _dynamic_standard(config):
    """MNIST binarized anew each epoch and a standard normal prior."""
    config.data.name = "mnist"
    config.data.pixels = "dynamic"


def _dynamic_vamp(config):
    """MNIST binarized anew each epoch and the VampPrior."""
    _dynamic_standard(config)
    config.model.prior.name = "vamp"


_VARIANTS = {
    "static_standard": _static_standard,
    "static_vamp": _static_vamp,
    "dynamic_standard": _dynamic_standard,
    "dynamic_vamp": _dynamic_vamp,
}
