"""What likelihoods of pixels share: levels, the first map of a decoder, and sums over a picture."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

LAST, BASE = 255, 16  # the highest level of a pixel of 8 bits, and its two digits


def sum_pixels(values: jax.Array) -> jax.Array:
    """Sum [...,H,W,C] over a picture."""
    return values.sum((-3, -2, -1))


def first_map(maps: jax.Array) -> jax.Array:
    """Return the first of the maps [...,P]."""
    return maps[..., 0]


def but_first_map(maps: jax.Array) -> jax.Array:
    """Return the maps [...,P] with 0 in place of the first."""
    return jnp.where(jnp.arange(maps.shape[-1]) > 0, maps, 0)


def sigmoid_of_first_map(maps: jax.Array) -> jax.Array:
    """Return the sigmoid of the first of the maps [...,P]."""
    return jax.nn.sigmoid(maps[..., 0])


def unchanged(mean: np.ndarray) -> np.ndarray:
    """Return the mean picture: the offset of a family whose first map is its mean."""
    return mean


def offset_by_table(mean_at: Callable[[np.ndarray], np.ndarray], reach: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the inverse of a rising function on [-reach, reach], of values clipped to 0.005..0.995.

    It is read off a table of 40,000 values, none of which is of 0, where formulas divide by it.
    """

    def offset(mean: np.ndarray) -> np.ndarray:
        table = np.linspace(-reach, reach, 40000)
        return np.interp(np.clip(mean, 0.005, 0.995), mean_at(table), table)

    return offset


def inverse_softplus(value: float) -> float:
    """Return r with log(1 + e^r) = value."""
    return math.log(math.expm1(value))
