"""Pixels between black and white by one logit each: of 0 or 1, and of any value between."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.distributions import clipped_logit
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.prob.pixels import offset_by_table, sigmoid_of_first_map, sum_pixels, sum_softplus


def bernoulli() -> Likelihood:
    """Bernoulli from logits l: log p = x l - softplus(l), finite with the right gradient at any finite logit."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        logits = maps[..., 0]
        return sum_pixels(x * logits) - sum_softplus(logits)

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        del before
        return jax.nn.sigmoid(maps * jnp.array([-1.0, 1.0], maps.dtype))

    return Likelihood("binary", 1, {}, clipped_logit, log_prob, sigmoid_of_first_map, (2,), digit)


def continuous_bernoulli() -> Likelihood:
    """Continuous Bernoulli on [0, 1] from logits l: log p = x l - log((e^l - 1) / l).

    With s = sigmoid(l) this is the C(s) s^x (1 - s)^(1 - x) of Loaiza-Ganem and Cunningham (2019), section 3, where
    C(s) = 2 artanh(1 - 2s) / (1 - 2s) = l / (2s - 1) is what a Bernoulli on gray pixels leaves out. The mean is
    not s but 1 / (1 - e^-l) - 1 / l, and the start has the mean of the data. The density of a pixel that is always
    black or white grows without end, as log |l|.
    """

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        logits = maps[..., 0]
        return sum_pixels(x * logits - _log_normaliser(logits))

    def mean(maps: jax.Array) -> jax.Array:
        logits = maps[..., 0]
        return jax.jvp(_log_normaliser, (logits,), (jnp.ones_like(logits),))[1]

    offset = offset_by_table(lambda logits: -1 / np.expm1(-logits) - 1 / logits, reach=200.0)
    return Likelihood("unit", 1, {}, offset, log_prob, mean)


def _log_normaliser(logits: jax.Array) -> jax.Array:
    """Return log((e^l - 1) / l): by its series where |l| < 1, for there the slope cancels; the slope is the mean."""
    near = jnp.abs(logits) < 1
    square, size = jnp.square(jnp.where(near, logits, 0)), jnp.abs(jnp.where(near, 1, logits))
    series = logits / 2 + square * (1 / 24 - square * (1 / 2880 - square * (1 / 181440 - square / 9676800)))
    return jnp.where(near, series, jnp.maximum(logits, 0) + jnp.log(-jnp.expm1(-size)) - jnp.log(size))
