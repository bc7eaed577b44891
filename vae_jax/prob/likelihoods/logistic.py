"""Levels as bins of a logistic distribution, or of a mixture of several."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.likelihoods import Likelihood
from vae_jax.prob.pixels import BASE, LAST, but_first_map, inverse_softplus, offset_by_table, sum_pixels, unchanged

_START = 0.1  # of the scale


def discretized_logistic(*, min_scale: float = 1e-3) -> Likelihood:
    """Logistic in bins of 1/255 around the levels k/255, the outer two with the tails (Kingma et al. 2016).

    log P(k) = log(s((x + h - m) / c) - s((x - h - m) / c)) with the sigmoid s, h = 1/510; at k = 0 the second s is 0,
    at k = 255 the first is 1. The maps are m and r, where c = min_scale + softplus(r + r0), and r0 makes it start at
    0.1.

    Departure: what is given for the mean picture is m, cut at 0 and 1. It is the mean where no tail reaches 0 or 1; at
    m = 0 the mean is c log 2. `logistic_mixture` gives the mean.
    """

    def log_range(maps: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        return _log_range(maps[..., 0], _scale(maps[..., 1], min_scale), low, high)

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        level = jnp.round(LAST * x)
        return sum_pixels(log_range(maps, level, level))

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        return jax.nn.softmax(log_range(maps[..., None, :], *_ranges(maps, before)))

    def mean(maps: jax.Array) -> jax.Array:
        return jnp.clip(maps[..., 0], 0, 1)

    return Likelihood("levels", 2, {}, unchanged, log_prob, mean, (BASE, BASE), digit)


def logistic_mixture(*, num_components: int = 5, min_scale: float = 1e-3) -> Likelihood:
    """Mixture of M of these for every pixel and channel (PixelCNN++: Salimans et al. 2017).

    log P(k) = log sum_i w_i P_i(k), P_i as in `discretized_logistic`. Channels are independent given z: this leaves out
    how the means of green and blue follow the channels before them in the paper.

    The maps are M of the means, M of the scales and M logits of the weights. The first moves all of the means, the
    next are added to one each: the start is M components of scale 0.1 side by side, 1 wide together, at the mean of the
    data. The mean picture is that of the logistics with what lies beyond 0 and 1 put there, which is the mean of the
    levels to 1e-5 at scales from 0.02.
    """
    apart = (np.arange(num_components) + 0.5) / num_components - 0.5

    def components(maps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        moves, scales, weights = jnp.split(maps, 3, -1)
        means = maps[..., :1] + jnp.asarray(apart, maps.dtype) + but_first_map(moves)
        return means, _scale(scales, min_scale), jax.nn.log_softmax(weights)

    def log_range(maps: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        means, scales, log_weights = components(maps)
        return jax.nn.logsumexp(log_weights + _log_range(means, scales, low[..., None], high[..., None]), -1)

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        level = jnp.round(LAST * x)
        return sum_pixels(log_range(maps, level, level))

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        return jax.nn.softmax(log_range(maps[..., None, :], *_ranges(maps, before)))

    def mean(maps: jax.Array) -> jax.Array:
        means, scales, log_weights = components(maps)
        inside = scales * (jax.nn.softplus(means / scales) - jax.nn.softplus((means - 1) / scales))
        return jnp.clip((jnp.exp(log_weights) * inside).sum(-1), 0, 1)

    def mean_at(first: np.ndarray) -> np.ndarray:
        scale = min_scale + _START
        means = (first[:, None] + apart) / scale
        return scale * (np.logaddexp(0, means) - np.logaddexp(0, means - 1 / scale)).mean(-1)

    offset = offset_by_table(mean_at, reach=3.0)
    return Likelihood("levels", 3 * num_components, {}, offset, log_prob, mean, (BASE, BASE), digit)


def _scale(raw: jax.Array, min_scale: float) -> jax.Array:
    return min_scale + jax.nn.softplus(raw + inverse_softplus(_START))


def _log_range(mean: jax.Array, scale: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Return log P(low <= k <= high), finite in either tail: s(u) - s(l) = s(u) s(-l) (1 - exp(l - u))."""
    rate = 1 / scale / LAST
    upper, lower = ((edge - LAST * mean) * rate for edge in (high + 0.5, low - 0.5))
    below = jnp.where(high < LAST, jax.nn.log_sigmoid(upper), 0)
    above = jnp.where(low > 0, jax.nn.log_sigmoid(-lower), 0)
    both = jnp.where((low > 0) & (high < LAST), jnp.log(-jnp.expm1(-rate * (high - low + 1))), 0)
    return below + above + both


def _ranges(maps: jax.Array, before: tuple) -> tuple[jax.Array, jax.Array]:
    """Return the lowest and the highest level of each value of the next digit."""
    width = 1 if before else BASE
    first = BASE * before[0][..., None] if before else 0
    low = (first + width * jnp.arange(BASE)).astype(maps.dtype)
    return low, low + width - 1
