"""The zoo: clusters in the latent space of a VAE. MNIST, 784-500-500-2000-10 and back; needs `--data_dir`.

`get_config(arg)`: variant= a key of _VARIANTS below (default: vade), and runlocal for a run of seconds. The accuracy of
the clusters: `scripts/group.py`, latent_prior.
"""

from base import apply_variant, set_vae, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_vae(get_base())
    if apply_variant(config, arg, _VARIANTS, default="vade"):
        shorten(config)
        config.hypers.pretrain_epochs = 1.0
        config.data.augmentation.epochs = 1
    return config


def _vade(config):
    """A mixture of 10 normals as the prior, fitted to the codes of an autoencoder (Jiang et al. 2017, section 3).

    Unlike theirs the autoencoder is trained on pictures that are moved, turned and stretched, all that follows on the
    pictures as they are.
    """
    config.data.name = "mnist"
    config.data.pixels = "dynamic"
    config.data.augmentation.name = "affine"
    config.data.augmentation.scale = 0.2
    config.data.augmentation.epochs = 60
    config.model.name = "vade"
    config.model.objective.name = config.model.posterior.name = config.model.prior.name = None
    config.model.latent = 10
    config.model.encoder.hidden = (500, 500, 2000)
    config.hypers.kl_warmup_epochs = None
    config.hypers.pretrain_epochs = 60.0
    config.schedule.name = "warmup_cosine"
    config.train.batch_size = 256
    config.train.epochs = 90
    config.train.eval_every_epochs = 5


_VARIANTS = {"vade": _vade}
