"""The autoencoders of the zoo: no noise in the code, one distance, and what the regularizers make of it.

`get_config(arg)`: variant= a key of _VARIANTS below (default: plain), and runlocal for a run of seconds. Gray MNIST,
16 latents, as in the paper of the RAE (Ghosh et al. 2020, appendix); the network and the schedule of the zoo.
"""

from base import apply_variant, set_autoencoder, set_zoo, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_autoencoder(set_zoo(get_base()))
    config.data.name = "mnist"
    config.model.latent = 16
    config.train.select = "last"  # validation has no part of a penalty on a batch
    if apply_variant(config, arg, _VARIANTS, default="plain"):
        shorten(config)
    return config


def _plain(config):
    """The autoencoder of Hinton and Salakhutdinov (2006), trained as a whole: 784-200-200-16 and back."""


def _conv(config):
    """Strided convolutions in place of the dense layers (Masci et al. 2011): 32-64-256-16 and back."""
    config.model.encoder.name = "conv"
    config.model.encoder.channels = (32, 64)
    config.model.encoder.hidden = (256,)
    config.model.encoder.activation = None
    config.train.epochs = 5  # of the residual network each takes a CPU core two minutes


def _resnet(config):
    """Residual blocks between the strided convolutions (He et al. 2016b, equations 1 and 2, without batch norm)."""
    _conv(config)
    config.model.encoder.name = "resnet"
    config.model.encoder.depth = 1


def _sparse(config):
    """64 ReLU units with an L1 penalty (Glorot, Bordes and Bengio 2011, section 3.2), the decoder's norm held."""
    config.model.latent = 64
    config.model.regularizer.name = "sparse_l1"
    config.model.spectral_norm = True
    config.hypers.sparsity_weight = 5e-5


def _sparse_kl(config):
    """64 sigmoid units, each at 0.05 in the mean over pictures (Ng 2011, Sparse autoencoder, section 3)."""
    config.model.latent = 64
    config.model.regularizer.name = "sparse_kl"
    config.hypers.activity = 0.05
    config.hypers.sparsity_weight = 1e-3


def _contractive(config):
    """The code's derivatives are kept small (Rifai et al. 2011, equation 7), the decoder's norm held."""
    config.model.regularizer.name = "contractive"
    config.model.spectral_norm = True
    config.hypers.contraction_weight = 2e-5


def _rae(config):
    """RAE: the code is kept small and no more (L_RAE of Ghosh et al. 2020 with lambda = 0)."""
    config.model.regularizer.name = "rae"
    config.hypers.code_weight = 1e-4


def _rae_l2(config):
    """RAE-L2: the decoder's parameters are kept small too (Ghosh et al. 2020)."""
    _rae(config)
    config.model.regularizer.name = "rae_l2"
    config.hypers.decoder_weight = 1e-6


def _rae_gp(config):
    """RAE-GP: the decoder's derivatives are kept small too (Ghosh et al. 2020)."""
    _rae(config)
    config.model.regularizer.name = "rae_gp"
    config.hypers.gradient_weight = 1e-4


def _rae_sn(config):
    """RAE-SN: the decoder's matrices have norm 1 (Ghosh et al. 2020; Miyato et al. 2018, algorithm 1)."""
    _rae(config)
    config.model.spectral_norm = True


def _wae_rbf(config):
    """WAE-MMD with Gaussian kernels: the codes are drawn towards N(0, I) (Tolstikhin et al. 2018, algorithm 2)."""
    config.model.regularizer.name = "wae_mmd"
    config.model.regularizer.kernel = "rbf"
    config.hypers.prior_weight = 0.1


def _wae_imq(config):
    """WAE-MMD with the authors' inverse multiquadratic kernels (Tolstikhin et al. 2018, algorithm 2)."""
    _wae_rbf(config)
    config.model.regularizer.kernel = "imq"


def _sliced_wae(config):
    """Sliced Wasserstein autoencoder: N(0, I) along random directions (Kolouri et al. 2019)."""
    config.model.regularizer.name = "sliced_wasserstein"
    config.hypers.prior_weight = 0.1


def _ms_ssim(config):
    """The plain autoencoder trained on structure rather than on squares (Wang et al. 2003; Snell et al. 2017)."""
    config.model.distance.name = "ms_ssim"


_VARIANTS = {
    "plain": _plain,
    "conv": _conv,
    "resnet": _resnet,
    "sparse": _sparse,
    "sparse_kl": _sparse_kl,
    "contractive": _contractive,
    "rae": _rae,
    "rae_l2": _rae_l2,
    "rae_gp": _rae_gp,
    "rae_sn": _rae_sn,
    "wae_rbf": _wae_rbf,
    "wae_imq": _wae_imq,
    "sliced_wae": _sliced_wae,
    "ms_ssim": _ms_ssim,
}
