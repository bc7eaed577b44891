"""Levels as counts of heads."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.distributions import LOG_2PI, clipped_logit
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.prob.pixels import BASE, LAST, sigmoid_of_first_map, sum_pixels

_MAX_CONCENTRATION = 1000.0  # beyond, a beta-binomial is nearly a binomial, and log Gamma loses digits in float32
_TINY = math.log(1e-9)
_LOG_WAYS = np.array([math.log(math.comb(LAST, k)) for k in range(LAST + 1)])  # log C(255, k)


def beta_binomial() -> Likelihood:
    """Beta-binomial over the levels k = 255 x: log P(k) = log C(n, k) + log B(k + a, n - k + b) - log B(a, b), n = 255.

    The maps are the logit of the mean a / (a + b) and, nearly, log(a + b): the concentration a + b is the smaller of
    e^map and 1000, with a smooth bend. Townsend et al. (2019) have maps of a and b.
    """

    def log_shapes(maps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        bend = math.log(_MAX_CONCENTRATION)
        log_total = bend + jax.nn.log_sigmoid(maps[..., 1] - bend)
        log_a, log_b = (jax.nn.log_sigmoid(sign * maps[..., 0]) + log_total for sign in (1, -1))
        return log_a, log_b, log_total

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        level, (log_a, log_b, log_total) = jnp.round(LAST * x), log_shapes(maps)
        ways = jnp.asarray(_LOG_WAYS, maps.dtype)[level.astype(jnp.int32)]
        heads, tails = _log_rising(log_a, level), _log_rising(log_b, LAST - level)
        return sum_pixels(ways + heads + tails - _log_rising(log_total, jnp.full_like(level, LAST)))

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        log_a, log_b, _ = log_shapes(maps)
        # Where they are smaller, the other levels have less probability than an entropy coder can give.
        a, b = jnp.exp(jnp.maximum(log_a, _TINY)), jnp.exp(jnp.maximum(log_b, _TINY))

        def of_range(log_first: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
            *levels, after = _beta_binomial_from(low, a, b)
            return log_first + jnp.log(after), log_first + jnp.log(sum(levels))

        if before:
            levels = jnp.stack(_beta_binomial_from((BASE * before[0]).astype(maps.dtype), a, b)[:-1], -1)
            return levels / levels.sum(-1, keepdims=True)
        lows = jnp.arange(0, BASE**2, BASE, dtype=maps.dtype)
        return jax.nn.softmax(jnp.moveaxis(jax.lax.scan(of_range, jnp.zeros_like(a), lows)[1], 0, -1))

    return Likelihood("levels", 2, {}, clipped_logit, log_prob, sigmoid_of_first_map, (BASE, BASE), digit)


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
    for j in range(BASE):
        k = low + j
        left = jnp.maximum(LAST - 1 - k, 0)
        products.append(products[-1] * ((left + 1) * (k + a) / ((k + 1) * (left + b))))
    return products
