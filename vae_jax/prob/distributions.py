"""Distributions over the code z."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LOG_2PI = math.log(2 * math.pi)


class Normal(NamedTuple):
    """Normal with a diagonal covariance; loc and scale (standard deviation) [..., D]."""

    loc: jax.Array
    scale: jax.Array

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return log p(z) in nats, summed over D. z [..., D] -> [...]."""
        return (-0.5 * jnp.square((z - self.loc) / self.scale) - jnp.log(self.scale) - 0.5 * LOG_2PI).sum(-1)

    def at(self, noise: jax.Array) -> jax.Array:
        """Return loc + scale * noise: the reparameterization of Kingma and Welling (2014), equation 4."""
        return self.loc + self.scale * noise


def standard_normal(size: int) -> Normal:
    """Return N(0, I) over `size` latents."""
    return Normal(jnp.zeros(size), jnp.ones(size))


def kl(q: Normal, p: Normal) -> jax.Array:
    """Return KL(q || p) in nats, summed over D: [B].

    With p = N(0, I) this is Kingma and Welling (2014), appendix B, with the opposite sign.
    """
    distance = jnp.square((q.loc - p.loc) / p.scale)
    log_ratio = jnp.log(q.scale) - jnp.log(p.scale)
    return (0.5 * (jnp.square(q.scale / p.scale) + distance - 1) - log_ratio).sum(-1)


def clipped_logit(mean: np.ndarray) -> np.ndarray:
    """Return log p/(1-p) of p clipped to 0.005..0.995: a pixel that is never on does not start at minus infinity."""
    clipped = np.clip(mean, 0.005, 0.995)
    return np.log(clipped) - np.log1p(-clipped)
