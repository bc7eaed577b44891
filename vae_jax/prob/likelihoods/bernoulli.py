"""Pixels between black and white by one logit each: of 0 or 1, and of any value between."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.distributions import clipped_logit
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.prob.pixels import offset_by_table, sigmoid_of_first_map, sum_pixels


def bernoulli() -> Likelihood:
    """Bernoulli from logits l: log p = x l - softplus(l), finite with the right gradient at any finite logit."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        logits = maps[..., 0]
        return _log_bernoulli(jnp.broadcast_to(x, logits.shape), logits)

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


@jax.custom_jvp
def _log_bernoulli(x: jax.Array, logits: jax.Array) -> jax.Array:
    """Return sum x l - l+ - log(1 + e^-|l|) over the pictures x and l [...,H,W,C].

    The last terms of eight pixels are the log of a product of factors of at most 2: a logarithm takes a CPU
    longer than seven products. Eight parts of the picture are added up first, so that all this is one pass over memory.
    """
    parts = list(zip(_in_eight(x, 0), _in_eight(logits, -1e4), strict=True))  # to fill up: 0 for certain, which adds 0
    linear = sum(x * logits - jnp.maximum(logits, 0) for x, logits in parts)
    eighth = linear - jnp.log(math.prod(1 + jnp.exp(-jnp.abs(logits)) for _, logits in parts))
    # The sum as a product, for a sum would be merged with all this into something slower; never of short numbers.
    return jnp.dot(eighth, jnp.ones(eighth.shape[-1], eighth.dtype), precision="highest")


@_log_bernoulli.defjvp
def _log_bernoulli_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x, logits), (change_of_x, change) = primals, tangents
    slope = sum_pixels((x - jax.nn.sigmoid(logits)) * change + logits * change_of_x)
    return _log_bernoulli(x, logits), slope


def _in_eight(values: jax.Array, fill: float) -> list[jax.Array]:
    """[...,H,W,C] -> 8 times [...,n]."""
    flat = values.reshape(*values.shape[:-3], -1)
    rest = [(0, 0)] * (flat.ndim - 1) + [(0, -flat.shape[-1] % 8)]
    return jnp.split(jnp.pad(flat, rest, constant_values=fill), 8, axis=-1)


def _log_normaliser(logits: jax.Array) -> jax.Array:
    """Return log((e^l - 1) / l): by its series where |l| < 1, for there the slope cancels; the slope is the mean."""
    near = jnp.abs(logits) < 1
    square, size = jnp.square(jnp.where(near, logits, 0)), jnp.abs(jnp.where(near, 1, logits))
    series = logits / 2 + square * (1 / 24 - square * (1 / 2880 - square * (1 / 181440 - square / 9676800)))
    return jnp.where(near, series, jnp.maximum(logits, 0) + jnp.log(-jnp.expm1(-size)) - jnp.log(size))
