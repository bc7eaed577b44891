"""Distributions over the unit sphere of D dimensions: von Mises-Fisher and uniform (Davidson et al. 2018).

Densities are with respect to the surface of the sphere. With w = mu . z, the density of w is proportional to
exp(kappa w) (1 - w^2)^((D - 3) / 2). All that is needed of it - its normaliser, its mean, its quantiles - comes from
one quadrature over w, which is differentiable in kappa: no Bessel functions and no rejection sampling.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_POINTS, _POWER = 513, 6
_RIGHT = 0.5 * math.pi


class VonMisesFisher(NamedTuple):
    """exp(kappa mu . z) / C(kappa): the direction mu [..., D] has length 1, concentration kappa [...]."""

    direction: jax.Array
    concentration: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The direction: the mode, on the sphere, where the mean is not."""
        return self.direction

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return the log density in nats. z [..., D] -> [...]."""
        size = z.shape[-1]
        log_mass, _ = _log_mass(self.concentration, size)
        # exp(kappa (w - 1)): the normaliser is of this form too, so that neither overflows.
        tilt = self.concentration * ((self.direction * z).sum(-1) - 1)
        return tilt - jax.nn.logsumexp(log_mass, -1) - _log_area(size - 1)

    def draw(self, keys: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """Return z [K,B,D] and log q(z|x) [K,B]; keys [B].

        w is the quantile of a uniform number; the rest is uniform among the directions at a right angle to mu.
        """
        size = self.direction.shape[-1]
        pairs = jax.vmap(jax.random.split)(keys)
        level = jax.vmap(lambda key: jax.random.uniform(key, (k,)), out_axes=1)(pairs[:, 0])
        noise = jax.vmap(lambda key: jax.random.normal(key, (k, size)), out_axes=1)(pairs[:, 1])
        gap = _quantile(level, self.concentration, size)  # 1 - w
        across = noise
        for _ in range(2):  # once leaves a remainder where little of the noise lies across
            across -= (across * self.direction).sum(-1, keepdims=True) * self.direction
            across /= jnp.linalg.norm(across, axis=-1, keepdims=True)
        sine = jnp.sqrt(gap * (2 - gap))
        z = (1 - gap)[..., None] * self.direction + sine[..., None] * across
        return z, self.log_prob(z)

    def kl_to(self, prior: Any) -> jax.Array | None:
        """Return KL(q || prior) [B], exact, if the prior is uniform on the sphere.

        kappa E[w] - log C(kappa) + log of the sphere's area (Davidson et al. 2018, equation 13).
        """
        if not isinstance(prior, UniformSphere):
            return None
        size = self.direction.shape[-1]
        log_mass, gap = _log_mass(self.concentration, size)
        mean_gap = (jax.nn.softmax(log_mass) * gap).sum(-1)
        entropy = jax.nn.logsumexp(log_mass, -1) + _log_area(size - 1) + self.concentration * mean_gap
        return _log_area(size) - entropy


class UniformSphere(NamedTuple):
    """The uniform distribution on the unit sphere of `size` dimensions."""

    size: int

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return the log density in nats. z [..., D] -> [...]."""
        return jnp.full(z.shape[:-1], -_log_area(self.size), z.dtype)

    def sample(self, key: jax.Array, num: int, temperature: jax.Array | float) -> jax.Array:
        """Return num draws [N,D]; at temperature 0 all are the first axis, which the others approach from around."""
        noise = temperature * jax.random.normal(key, (num, self.size))
        noise = noise.at[:, 0].add(jnp.maximum(1 - temperature, 0))
        return noise / jnp.linalg.norm(noise, axis=-1, keepdims=True)


def _log_area(size: int) -> float:
    """Return the log of the area of the unit sphere of `size` dimensions: 2 pi^(D/2) / Gamma(D/2)."""
    return math.log(2) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)


def _log_mass(concentration: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Return the log masses of the points of the quadrature, whose sum is the normaliser over e^kappa, and 1 - w.

    1 - w = 2 sin(t)^6, t from 0 to pi/2: the points lie close where w is near 1, where a large kappa puts the mass.
    [...] -> [..., points] each.
    """
    log_gap, log_measure = _grid(size)
    gap = np.exp(log_gap)
    return jnp.asarray(log_measure) - concentration[..., None] * gap, jnp.asarray(gap)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return log(1 - w) at the points, and the log of (1 - w^2)^((D - 3) / 2) dw there."""
    t = (np.arange(_POINTS) + 0.5) / _POINTS * _RIGHT
    log_gap = math.log(2) + _POWER * np.log(np.sin(t))
    log_other = math.log(2) + np.log1p(-(np.sin(t) ** _POWER))  # 1 + w
    log_slope = math.log(2 * _POWER) + (_POWER - 1) * np.log(np.sin(t)) + np.log(np.cos(t)) + math.log(_RIGHT / _POINTS)
    return log_gap.astype(np.float32), (0.5 * (size - 3) * (log_gap + log_other) + log_slope).astype(np.float32)


def _quantile(level: jax.Array, concentration: jax.Array, size: int) -> jax.Array:
    """Return 1 - w below which lies the share `level` [K,B] of the mass; linear between the cells of the quadrature."""
    log_mass, _ = _log_mass(concentration, size)
    mass = jnp.pad(jax.nn.softmax(log_mass), [(0, 0)] * concentration.ndim + [(1, 0)])
    edges = jnp.asarray(2 * np.sin(np.linspace(0, _RIGHT, _POINTS + 1)) ** _POWER, mass.dtype)
    interpolate = jax.vmap(lambda u, table: jnp.interp(u, table, edges), (1, 0), 1)
    cumulative = jnp.cumsum(mass, -1)
    return jnp.clip(interpolate(level, cumulative), 1e-7, 2 - 1e-6)
