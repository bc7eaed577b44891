"""The zoo of likelihoods p(x|z), each with the same VAE 784-200-200-40 on MNIST; `--data_dir` has the original files.

`get_config(arg)`: variant= a key of _VARIANTS below (default: bernoulli), and runlocal for a run of seconds. There are
three kinds of figures, and only those of one kind compare: masses of pixels drawn as 0 or 1 (bernoulli), masses of the
256 levels (also in bits per dimension), and densities on [0, 1].
"""

from base import apply_variant, set_vae, set_zoo, shorten
from base import get_config as get_base


def get_config(arg=""):
    """Return the config of a variant."""
    config = set_zoo(get_base())
    config.data.name = "mnist"
    if apply_variant(config, arg, _VARIANTS, default="bernoulli"):
        shorten(config)
    return config


def _bernoulli(config):
    """One logit (Kingma and Welling 2014, appendix C.1), for pixels that are drawn as 0 or 1 anew every epoch."""
    set_vae(config, "bernoulli")
    config.data.pixels = "dynamic"


def _beta_binomial(config):
    """The 256 levels as a number of heads, with the spread learned (Townsend et al. 2019)."""
    _masses(config, "beta_binomial")


def _discretized_logistic(config):
    """The 256 levels as bins of a logistic, with the scale learned (Kingma et al. 2016)."""
    _masses(config, "discretized_logistic")


def _logistic_mixture(config):
    """The same of five logistics for every pixel (Salimans et al. 2017; channels are independent)."""
    _masses(config, "logistic_mixture")


def _categorical(config):
    """A softmax over the 256 levels (PixelRNN: van den Oord et al. 2016): 256 maps, of 32 features each.

    With the 200 features of the others it would have 41 million parameters.
    """
    _masses(config, "categorical")
    config.model.decoder.hidden = (200, 32)
    config.train.epochs = 10
    config.evaluate.num_importance_samples = 10  # 256 outputs for every pixel take their time


def _continuous_bernoulli(config):
    """One logit and a density that is normalised on [0, 1] (Loaiza-Ganem and Cunningham 2019, section 3)."""
    set_vae(config, "continuous_bernoulli")


def _gaussian(config):
    """Standard deviation 1: half the squared error, and a constant (Kingma and Welling 2014, appendix C.2)."""
    set_vae(config, "gaussian")


def _gaussian_shared_scale(config):
    """One standard deviation, learned by gradient (Rybkin et al. 2021)."""
    set_vae(config, "gaussian_shared_scale")


def _gaussian_optimal(config):
    """One standard deviation, in closed form from the squared error (Rybkin et al. 2021, optimal sigma-VAE)."""
    set_vae(config, "gaussian_optimal")


def _gaussian_pixel_scale(config):
    """A standard deviation for every pixel from the decoder (Kingma and Welling 2014, appendix C.2)."""
    set_vae(config, "gaussian_pixel_scale")


def _laplace(config):
    """The absolute error, at scale 0.1."""
    set_vae(config, "laplace")


def _masses(config, likelihood):
    set_vae(config, likelihood)
    config.data.pixels = "uint8"


_VARIANTS = {
    "bernoulli": _bernoulli,
    "beta_binomial": _beta_binomial,
    "discretized_logistic": _discretized_logistic,
    "logistic_mixture": _logistic_mixture,
    "categorical": _categorical,
    "continuous_bernoulli": _continuous_bernoulli,
    "gaussian": _gaussian,
    "gaussian_shared_scale": _gaussian_shared_scale,
    "gaussian_optimal": _gaussian_optimal,
    "gaussian_pixel_scale": _gaussian_pixel_scale,
    "laplace": _laplace,
}
