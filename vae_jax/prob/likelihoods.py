"""p(x|z): how a decoder's output becomes a distribution over pictures. Each public function is a
`config.model.likelihood.name`.

Log-likelihoods are in nats, summed over all pixels and channels, with every constant. Bernoulli gives a probability
mass, and takes pixels of 0 and 1 only. The others give densities on [0, 1] pixels: compare them with other densities
only (such as pPCA's).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.distributions import LOG_2PI, clipped_logit
from vae_jax.types import Values


class Likelihood(NamedTuple):
    """A family p(x | maps, shared).

    maps [N,H,W,C,P] come from the decoder; shared are scalar parameters of their own, the same for all pixels.
    """

    support: Values  # the widest kind of pixels that it has a probability or a density for
    num_maps: int  # P
    shared: dict[str, float]  # name -> initial value
    offset: Callable[[np.ndarray], np.ndarray]  # mean picture [H,W,C] -> the first map's initial value [H,W,C]
    log_prob: Callable[[jax.Array, dict[str, jax.Array], jax.Array], jax.Array]  # (maps, shared, x [N,H,W,C]) -> [N]
    mean: Callable[[jax.Array], jax.Array]  # maps -> mean picture [N,H,W,C]


def bernoulli() -> Likelihood:
    """Bernoulli from logits l: log p = x l - softplus(l), finite with the right gradient at any finite logit."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        logits = maps[..., 0]
        return _sum_pixels(x * logits - jax.nn.softplus(logits))

    return Likelihood("binary", 1, {}, clipped_logit, log_prob, lambda maps: jax.nn.sigmoid(maps[..., 0]))


def gaussian(*, scale: float = 1.0) -> Likelihood:
    """Normal with one fixed standard deviation for all pixels: the squared error / 2 scale^2, plus its constants."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        return _normal(x, maps[..., 0], jnp.log(scale))

    return Likelihood("unit", 1, {}, _identity, log_prob, _first_map)


def gaussian_shared_scale(*, min_scale: float = 0.01) -> Likelihood:
    """Normal with one learned standard deviation for all pixels (Rybkin et al. 2021, section 3.1).

    The scale is min_scale + softplus(s), so a picture that is matched exactly cannot send the density to infinity.
    """

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        return _normal(x, maps[..., 0], jnp.log(min_scale + jax.nn.softplus(shared["raw_scale"])))

    return Likelihood("unit", 1, {"raw_scale": _inverse_softplus(0.3)}, _identity, log_prob, _first_map)


def gaussian_pixel_scale(*, min_scale: float = 0.05) -> Likelihood:
    """Normal whose decoder gives a mean and a standard deviation min_scale + softplus(s) for every pixel.

    Pixels that are constant in the data drive their scale to `min_scale`: the figure in nats depends on it.
    """

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        return _normal(x, maps[..., 0], jnp.log(min_scale + jax.nn.softplus(maps[..., 1])))

    return Likelihood("unit", 2, {}, _identity, log_prob, _first_map)


def laplace(*, scale: float = 0.1) -> Likelihood:
    """Laplace with one fixed scale b: log p = -|x - m| / b - log 2b, a mean absolute error with its constants."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        return _sum_pixels(-jnp.abs(x - maps[..., 0]) / scale - math.log(2 * scale))

    return Likelihood("unit", 1, {}, _identity, log_prob, _first_map)


def _normal(x: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
    return _sum_pixels(-0.5 * jnp.square((x - loc) * jnp.exp(-log_scale)) - log_scale - 0.5 * LOG_2PI)


def _sum_pixels(values: jax.Array) -> jax.Array:
    return values.sum((-3, -2, -1))


def _first_map(maps: jax.Array) -> jax.Array:
    return maps[..., 0]


def _identity(mean: np.ndarray) -> np.ndarray:
    return mean


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
