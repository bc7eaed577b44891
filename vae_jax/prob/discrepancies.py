"""How far apart two distributions are, told from draws of both. Pure functions of arrays."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of C

Kernel = Literal["rbf", "imq"]


def mmd(x: jax.Array, y: jax.Array, kernel: Kernel = "imq") -> jax.Array:
    """Return the unbiased estimate of the squared maximum mean discrepancy of the sources of x [N,D] and y [M,D].

    MMD^2 = sum_{i != j} k(x_i, x_j) / (N (N - 1)) + the same of y - 2 sum_{ij} k(x_i, y_j) / (N M), as in algorithm 2
    of Tolstikhin et al. (2018); being unbiased, it is below 0 about half of the time where both are alike. The kernel
    is a sum over C = 2 D s, s = 0.1, 0.2, 0.5, 1, 2, 5, 10, where 2 D is the mean squared distance of two draws of
    N(0, I): imq is sum_C C / (C + |a - b|^2), the authors' own; rbf is sum_C exp(-|a - b|^2 / C), whose widths they do
    not give. Sums, not means, over C: the MMD of imq stays below 2 times 7.

    Raises:
        ValueError: the kernel is unknown.
    """
    if kernel not in ("rbf", "imq"):
        raise ValueError(f"kernel={kernel!r} is unknown; expected rbf or imq")

    def similarity(a: jax.Array, b: jax.Array) -> jax.Array:
        apart = _squared_distances(a, b)
        widths = [2 * a.shape[1] * scale for scale in _SCALES]
        return sum(jnp.exp(-apart / c) if kernel == "rbf" else c / (c + apart) for c in widths)

    def among(a: jax.Array) -> jax.Array:
        others = similarity(a, a) * (1 - jnp.eye(len(a)))
        return others.sum() / (len(a) * (len(a) - 1))

    centre = x.mean(0)  # lest the differences drown in rounding
    x, y = x - centre, y - centre
    return among(x) + among(y) - 2 * similarity(x, y).mean()


def sliced_wasserstein(x: jax.Array, y: jax.Array, directions: jax.Array) -> jax.Array:
    """Return the squared sliced 2-Wasserstein distance of the draws x [N,D] and y [N,D].

    SW^2 = sum_l sum_n (x^l_(n) - y^l_(n))^2 / (L N), with x^l_(n) the n-th smallest of the projections of x on the l-th
    of the directions [L,D], which are of length 1 (Kolouri et al. 2019). Its mean over directions of a
    shift by t is |t|^2 / D.
    """
    along_x, along_y = (jnp.sort(draws @ directions.T, 0) for draws in (x, y))
    return jnp.square(along_x - along_y).mean()


def _squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return |x_i - y_j|^2, [N,M], without an array of [N,M,D]."""
    return jnp.maximum(jnp.square(x).sum(1)[:, None] + jnp.square(y).sum(1) - 2 * x @ y.T, 0)
