"""p(x|z): how a decoder's output becomes a distribution over pictures. Each public function is a
`config.model.likelihood.name`.

Log-likelihoods are in nats, summed over all pixels and channels, with every constant. Bernoulli gives a probability
mass, and takes pixels of 0 and 1 only; the beta-binomial and the discretised logistic give masses to the 256 levels
k/255. The others give densities on [0, 1] pixels: compare them with other densities only (such as pPCA's).
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

_LAST, _BASE = 255, 16  # the highest level of a pixel of 8 bits, and its two digits
_MAX_CONCENTRATION = 1000.0  # beyond, a beta-binomial is nearly a binomial, and log Gamma loses digits in float32
_TINY = math.log(1e-9)
_LOG_WAYS = np.array([math.log(math.comb(_LAST, k)) for k in range(_LAST + 1)])  # log C(255, k)


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
    bases: tuple[int, ...] = ()
    """A probability mass has its values numbered from 0 and written in digits of these bases; () for a density"""
    digit: Callable[[jax.Array, tuple[jax.Array, ...]], jax.Array] | None = None
    """(maps, the digits before [N,H,W,C] each, the highest first) -> [N,H,W,C,base], the masses of the next digit.
    Two digits of 16 take 32 masses of a pixel where a table takes 256: most of the time of an entropy coder"""


def bernoulli() -> Likelihood:
    """Bernoulli from logits l: log p = x l - softplus(l), finite with the right gradient at any finite logit."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        logits = maps[..., 0]
        return _sum_pixels(x * logits - jax.nn.softplus(logits))

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        del before
        return jax.nn.sigmoid(maps * jnp.array([-1.0, 1.0], maps.dtype))

    return Likelihood("binary", 1, {}, clipped_logit, log_prob, _sigmoid_of_first_map, (2,), digit)


def beta_binomial() -> Likelihood:
    """Beta-binomial over the levels k = 255 x: log P(k) = log C(n, k) + log B(k + a, n - k + b) - log B(a, b), n = 255.

    The maps are the logit of the mean a / (a + b) and, nearly, log(a + b): the concentration a + b is the smaller of
    e^map and 1000, with a smooth bend. Townsend et al. (2019), section 3.2, have maps of a and b.
    """

    def log_shapes(maps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        bend = math.log(_MAX_CONCENTRATION)
        log_total = bend + jax.nn.log_sigmoid(maps[..., 1] - bend)
        log_a, log_b = (jax.nn.log_sigmoid(sign * maps[..., 0]) + log_total for sign in (1, -1))
        return log_a, log_b, log_total

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        level, (log_a, log_b, log_total) = jnp.round(_LAST * x), log_shapes(maps)
        ways = jnp.asarray(_LOG_WAYS, maps.dtype)[level.astype(jnp.int32)]
        heads, tails = _log_rising(log_a, level), _log_rising(log_b, _LAST - level)
        return _sum_pixels(ways + heads + tails - _log_rising(log_total, jnp.full_like(level, _LAST)))

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        log_a, log_b, _ = log_shapes(maps)
        # Where they are smaller, the other levels have less probability than an entropy coder can give.
        a, b = jnp.exp(jnp.maximum(log_a, _TINY)), jnp.exp(jnp.maximum(log_b, _TINY))

        def of_range(log_first: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
            *levels, after = _beta_binomial_from(low, a, b)
            return log_first + jnp.log(after), log_first + jnp.log(sum(levels))

        if before:
            levels = jnp.stack(_beta_binomial_from((_BASE * before[0]).astype(maps.dtype), a, b)[:-1], -1)
            return levels / levels.sum(-1, keepdims=True)
        lows = jnp.arange(0, _BASE**2, _BASE, dtype=maps.dtype)
        return jax.nn.softmax(jnp.moveaxis(jax.lax.scan(of_range, jnp.zeros_like(a), lows)[1], 0, -1))

    return Likelihood("levels", 2, {}, clipped_logit, log_prob, _sigmoid_of_first_map, (_BASE, _BASE), digit)


def discretized_logistic(*, min_scale: float = 1e-3) -> Likelihood:
    """Logistic in bins of 1/255 around the levels k/255, the outer two with the tails (Kingma et al. 2016, sec. 5.2).

    log P(k) = log(s((x + h - m) / c) - s((x - h - m) / c)) with the sigmoid s, h = 1/510; at k = 0 the second s is 0,
    at k = 255 the first is 1. The maps are m and r, where c = min_scale + softplus(r + r0), and r0 makes it start at
    0.1.
    """
    start = _inverse_softplus(0.1)

    def log_range(maps: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        """Return log P(low <= k <= high), finite in either tail: s(u) - s(l) = s(u) s(-l) (1 - exp(l - u))."""
        rate = 1 / (min_scale + jax.nn.softplus(maps[..., 1] + start)) / _LAST
        upper, lower = ((edge - _LAST * maps[..., 0]) * rate for edge in (high + 0.5, low - 0.5))
        below = jnp.where(high < _LAST, jax.nn.log_sigmoid(upper), 0)
        above = jnp.where(low > 0, jax.nn.log_sigmoid(-lower), 0)
        both = jnp.where((low > 0) & (high < _LAST), jnp.log(-jnp.expm1(-rate * (high - low + 1))), 0)
        return below + above + both

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        level = jnp.round(_LAST * x)
        return _sum_pixels(log_range(maps, level, level))

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        width = 1 if before else _BASE
        first = _BASE * before[0][..., None] if before else 0
        low = (first + width * jnp.arange(_BASE)).astype(maps.dtype)
        return jax.nn.softmax(log_range(maps[..., None, :], low, low + width - 1))

    def mean(maps: jax.Array) -> jax.Array:
        return jnp.clip(maps[..., 0], 0, 1)  # m may lie far outside, where all of the mass is at one end

    return Likelihood("levels", 2, {}, _identity, log_prob, mean, (_BASE, _BASE), digit)


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


def _log_rising(log_a: jax.Array, count: jax.Array) -> jax.Array:
    """Return log a (a + 1) ... (a + count - 1) = log Gamma(a + count) - log Gamma(a), from log a, however small."""
    a, some = jnp.exp(log_a), count > 0
    return jnp.where(some, log_a + _log_gamma(jnp.where(some, count, 1) + a) - _log_gamma(1 + a), 0)


def _log_gamma(x: jax.Array) -> jax.Array:
    """Return log Gamma(x) for x >= 1 by Stirling's series at x + 3, to 4e-8: XLA's own, with its gradient, is slow."""
    y = x + 3
    series = (1 / 12 - (1 / 360 - 1 / (1260 * y * y)) / (y * y)) / y
    return (y - 0.5) * jnp.log(y) - y + 0.5 * LOG_2PI + series - jnp.log(x * (x + 1) * (x + 2))


def _beta_binomial_from(low: jax.Array, a: jax.Array, b: jax.Array) -> list[jax.Array]:
    """Return P(low + j) / P(low) for j = 0..16 of a beta-binomial, from the ratios of neighbours: no log Gamma.

    P(k + 1) / P(k) = (n - k) (k + a) / ((k + 1) (n - k - 1 + b)); where low + j passes n the value means nothing. With
    a and b from 1e-9 to 1000 no product of 16 leaves the range of float32.
    """
    products = [jnp.ones_like(a)]
    for j in range(_BASE):
        k = low + j
        left = jnp.maximum(_LAST - 1 - k, 0)
        products.append(products[-1] * ((left + 1) * (k + a) / ((k + 1) * (left + b))))
    return products


def _normal(x: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
    return _sum_pixels(-0.5 * jnp.square((x - loc) * jnp.exp(-log_scale)) - log_scale - 0.5 * LOG_2PI)


def _sum_pixels(values: jax.Array) -> jax.Array:
    return values.sum((-3, -2, -1))


def _sigmoid_of_first_map(maps: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(maps[..., 0])


def _first_map(maps: jax.Array) -> jax.Array:
    return maps[..., 0]


def _identity(mean: np.ndarray) -> np.ndarray:
    return mean


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
