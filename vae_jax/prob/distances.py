"""The distance between x and x* that a plain autoencoder minimises. Each public function is a
`config.model.distance.name`. All are means over the pixels of an example, as their names say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.distributions import clipped_logit


class Distance(NamedTuple):
    """A distance on a decoder's raw output."""

    between: Callable[[jax.Array, jax.Array], jax.Array]  # (x [N,H,W,C], output [N,H,W,C]) -> [N]
    picture: Callable[[jax.Array], jax.Array]  # output -> x* [N,H,W,C]
    offset: Callable[[np.ndarray], np.ndarray]  # mean picture -> the output's initial value
    colour_only: bool = False  # whether it says nothing of brightness, and so nothing of gray pictures


def mse() -> Distance:
    """Mean squared error of a linear output."""
    return Distance(lambda x, out: _mean_pixels(jnp.square(x - out)), _identity, _identity)


def mae() -> Distance:
    """Mean absolute error of a linear output."""
    return Distance(lambda x, out: _mean_pixels(jnp.abs(x - out)), _identity, _identity)


def sigmoid_mae() -> Distance:
    """Mean absolute error of a sigmoid output, which stays within [0, 1]."""
    return Distance(lambda x, out: _mean_pixels(jnp.abs(x - jax.nn.sigmoid(out))), jax.nn.sigmoid, clipped_logit)


def bce() -> Distance:
    """Binary cross-entropy, in nats per pixel, of logits: softplus(l) - x l; x* = sigmoid(l)."""
    return Distance(lambda x, out: _mean_pixels(jax.nn.softplus(out) - x * out), jax.nn.sigmoid, clipped_logit)


def chroma() -> Distance:
    """Mean squared error of colour alone: of what each channel of a linear output differs from the mean of them all.

    Any chroma, such as Cb and Cr, is linear in these differences. The brightness of the output counts for nothing; x*
    shows the colours at a brightness of one half, for those who have the luminance to put in.
    """

    def colour(values: jax.Array) -> jax.Array:
        return values - values.mean(-1, keepdims=True)

    return Distance(
        lambda x, out: _mean_pixels(jnp.square(colour(x - out))),
        lambda out: colour(out) + 0.5,
        _identity,
        colour_only=True,
    )


def _mean_pixels(values: jax.Array) -> jax.Array:
    return values.mean((-3, -2, -1))


def _identity(values: jax.Array) -> jax.Array:
    return values
