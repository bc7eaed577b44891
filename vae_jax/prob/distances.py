"""The distance between x and x* that a plain autoencoder minimises. Each public function is a
`config.model.distance.name`. All are means over the pixels of an example, whatever the size of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.prob.distributions import clipped_logit

_WINDOW, _C1, _C2 = 11, 0.01**2, 0.03**2  # of SSIM
_SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # of MS-SSIM


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


def ms_ssim() -> Distance:
    """1 - MS-SSIM of a sigmoid output (Wang, Simoncelli and Bovik 2003, equation 7), the mean over the channels.

    MS-SSIM = (l cs)_M^w_M prod_j (cs_j)^w_j over the scales j = 1..M - 1, each with half the sides of the one before,
    all of them means over the picture, of SSIM's second factor or, at the last scale, of both together: Gaussian
    windows of 11 pixels and standard deviation 1.5, K1 = 0.01, K2 = 0.03, pixels in [0, 1]. Windows end at the border,
    with weights of sum 1, so that pixels there count. As many of the five scales are taken as leave 6 pixels to the
    shorter side (three of 28x28, one of 9x7), with the authors' weights made to sum to 1. Factors are kept above 1e-4,
    lest a power of a negative one is taken.
    """

    def between(x: jax.Array, out: jax.Array) -> jax.Array:
        y, similarity = jax.nn.sigmoid(out), 1.0
        weights = _scale_weights(min(x.shape[-3:-1]))
        for j, weight in enumerate(weights):
            luminance, structure = _ssim_factors(x, y)
            factor = luminance * structure if j + 1 == len(weights) else structure
            similarity *= jnp.maximum(factor.mean((-3, -2)), 1e-4) ** weight
            x, y = _halve(x), _halve(y)
        return 1 - similarity.mean(-1)

    return Distance(between, jax.nn.sigmoid, clipped_logit)


def _scale_weights(side: int) -> np.ndarray:
    scales = 1 + sum(side // 2**j >= _WINDOW // 2 + 1 for j in range(1, len(_SCALE_WEIGHTS)))
    return _SCALE_WEIGHTS[:scales] / _SCALE_WEIGHTS[:scales].sum()


def _ssim_factors(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the luminance, and the contrast times the structure, around every pixel [N,H,W,C]."""
    rows, columns = map(_window, x.shape[-3:-1])

    def blur(values: jax.Array) -> jax.Array:
        # The variances are small differences of these means: their products keep all of float32.
        return jnp.einsum("ih,jw,...hwc->...ijc", rows, columns, values, precision="highest")

    mean_x, mean_y = blur(x), blur(y)
    both, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance, variances = blur(x * y) - both, blur(x * x + y * y) - squares
    return (2 * both + _C1) / (squares + _C1), (2 * covariance + _C2) / (variances + _C2)


def _window(side: int) -> np.ndarray:
    """Return the matrix that averages the neighbours of each of `side` pixels."""
    apart = np.arange(side)[:, None] - np.arange(side)
    weights = np.exp(-0.5 * (apart / 1.5) ** 2) * (abs(apart) <= _WINDOW // 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _halve(x: jax.Array) -> jax.Array:
    """Average squares of 2x2 pixels; the last of an odd number is left out."""
    height, width, channels = x.shape[-3] // 2, x.shape[-2] // 2, x.shape[-1]
    pairs = x[..., : 2 * height, : 2 * width, :].reshape(-1, height, 2, width, 2, channels)
    return pairs.mean((2, 4))


def _mean_pixels(values: jax.Array) -> jax.Array:
    return values.mean((-3, -2, -1))


def _identity(values: jax.Array) -> jax.Array:
    return values
