"""One probability for each of the 256 levels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.likelihoods import Likelihood
from vae_jax.prob.pixels import BASE, LAST, but_first_map, offset_by_table, sum_pixels


def categorical() -> Likelihood:
    """Softmax over the 256 levels k/255 of every pixel and channel (van den Oord et al. 2016).

    The logit of level k is t k/255 + f_k, where the first map is t and the others are f_1 ... f_255, with f_0 = 0: all
    distributions, as from 256 free logits, but t alone sets the mean. It starts as the distribution of the greatest
    entropy that has the mean of the data. Neighbouring levels have nothing in common that is not learned.
    """

    def logits(maps: jax.Array) -> jax.Array:
        # A product of the two would do, but XLA's CPU code for its gradient is 8 times slower.
        tilts = jnp.einsum("...,k->...k", maps[..., 0], jnp.asarray(_LEVELS, maps.dtype), precision="highest")
        return tilts + but_first_map(maps)

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        level = jnp.round(LAST * x).astype(jnp.int32)
        return sum_pixels(jnp.take_along_axis(jax.nn.log_softmax(logits(maps)), level[..., None], -1)[..., 0])

    def digit(maps: jax.Array, before: tuple) -> jax.Array:
        rows = logits(maps).reshape(*maps.shape[:-1], BASE, BASE)
        if not before:
            return jax.nn.softmax(jax.nn.logsumexp(rows, -1))
        return jax.nn.softmax(jnp.take_along_axis(rows, before[0].astype(jnp.int32)[..., None, None], -2)[..., 0, :])

    def mean(maps: jax.Array) -> jax.Array:
        return (jax.nn.softmax(logits(maps)) * jnp.asarray(_LEVELS, maps.dtype)).sum(-1)

    offset = offset_by_table(_mean_of_tilted, reach=200.0)
    return Likelihood("levels", LAST + 1, {}, offset, log_prob, mean, (BASE, BASE), digit)


_LEVELS = np.arange(LAST + 1) / LAST


def _mean_of_tilted(tilt: np.ndarray) -> np.ndarray:
    """Return the mean of k/255 under P(k) ~ e^(t k/255)."""
    step = tilt / LAST
    return (-(LAST + 1) / np.expm1(-(LAST + 1) * step) + 1 / np.expm1(-step)) / LAST
