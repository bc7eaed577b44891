"""Distributions over the code z. Each has `log_prob`, summed over the D latents, in nats.

A posterior q(z|x), with parameters [B,...], also has `mean` [B,D], the code that stands for x; `draw`, which is
differentiable in the parameters; and `kl_to`. A prior, without B, also has `sample`.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LOG_2PI = math.log(2 * math.pi)


class Normal(NamedTuple):
    """Normal with a diagonal covariance; loc and scale (standard deviation) [..., D]."""

    loc: jax.Array
    scale: jax.Array

    @property
    def mean(self) -> jax.Array:
        """loc."""
        return self.loc

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return log p(z) in nats, summed over D. z [..., D] -> [...]."""
        return (-0.5 * jnp.square((z - self.loc) / self.scale) - jnp.log(self.scale) - 0.5 * LOG_2PI).sum(-1)

    def at(self, noise: jax.Array) -> jax.Array:
        """Return loc + scale * noise: the reparameterization of Kingma and Welling (2014), equation 4."""
        return self.loc + self.scale * noise

    def draw(self, keys: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """Return z [K,B,D] and log q(z|x) [K,B]; keys [B]."""
        z = self.at(normal_noise(keys, k, self.loc.shape[-1]))
        return z, self.log_prob(z)

    def kl_to(self, prior: Any) -> jax.Array | None:
        """Return KL(q || prior) [B], or None where it has no closed form."""
        return kl(self, prior) if isinstance(prior, Normal) else None

    def sample(self, key: jax.Array, num: int, temperature: jax.Array | float) -> jax.Array:
        """Return num draws [N,D] of a prior [D]; the temperature multiplies the scale."""
        return self.at(temperature * jax.random.normal(key, (num, self.loc.shape[-1])))


class FullNormal(NamedTuple):
    """Normal with covariance L L^T; loc [..., D], factor L [..., D,D] lower triangular, its diagonal above 0."""

    loc: jax.Array
    factor: jax.Array

    @property
    def mean(self) -> jax.Array:
        """loc."""
        return self.loc

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return log p(z) in nats. z [..., D] -> [...]."""
        factor = jnp.broadcast_to(self.factor, (*z.shape, z.shape[-1]))
        noise = jax.scipy.linalg.solve_triangular(factor, (z - self.loc)[..., None], lower=True)[..., 0]
        return (-0.5 * jnp.square(noise) - 0.5 * LOG_2PI).sum(-1) - self._log_det

    @property
    def _log_det(self) -> jax.Array:
        return jnp.log(jnp.diagonal(self.factor, axis1=-2, axis2=-1)).sum(-1)

    def draw(self, keys: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """Return z = loc + L noise [K,B,D] and log q(z|x) [K,B]; keys [B]."""
        noise = normal_noise(keys, k, self.loc.shape[-1])
        z = self.loc + jnp.einsum("bij,kbj->kbi", self.factor, noise)
        return z, self.log_prob(z)

    def kl_to(self, prior: Any) -> jax.Array | None:
        """Return KL(q || prior) [B] for a prior with a diagonal covariance, else None.

        (tr(S^-1 L L^T) + (m - loc)^T S^-1 (m - loc) - D + log det S) / 2 - log det L, with the prior N(m, S).
        """
        if not isinstance(prior, Normal):
            return None
        spread = jnp.square(self.factor / prior.scale[..., :, None]).sum((-2, -1))
        distance = jnp.square((self.loc - prior.loc) / prior.scale).sum(-1)
        size = self.loc.shape[-1]
        return 0.5 * (spread + distance - size) + jnp.log(prior.scale).sum(-1) - self._log_det


class Mixture(NamedTuple):
    """sum_m w_m N(z; loc_m, scale_m^2): log_weights [M], normalised or not; parts [M,D]."""

    log_weights: jax.Array
    parts: Normal

    def log_joint(self, z: jax.Array) -> jax.Array:
        """Return log w_m + log N(z; m): z [..., D] -> [..., M].

        Written as products of matrices: [..., M, D] is not made. The squares are differences of large numbers, so the
        products keep all of float32, whatever precision others are given.
        """
        precision = 1 / jnp.square(self.parts.scale)
        constant = -0.5 * (precision * jnp.square(self.parts.loc)).sum(-1) - jnp.log(self.parts.scale).sum(-1)
        product = functools.partial(jnp.matmul, precision="highest")
        squares = product(z, (precision * self.parts.loc).T) - 0.5 * product(jnp.square(z), precision.T)
        return jax.nn.log_softmax(self.log_weights) + constant - 0.5 * z.shape[-1] * LOG_2PI + squares

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return log p(z) in nats. z [..., D] -> [...]."""
        return jax.nn.logsumexp(self.log_joint(z), -1)

    def sample(self, key: jax.Array, num: int, temperature: jax.Array | float) -> jax.Array:
        """Return num draws [N,D]; the temperature multiplies the noise of the choice and the scales of the parts.

        At 0 all are the centre of the heaviest part.
        """
        pick, noise = jax.random.split(key)
        gumbel = jax.random.gumbel(pick, (num, len(self.log_weights)))
        part = (self.log_weights + temperature * gumbel).argmax(-1)
        return Normal(self.parts.loc[part], self.parts.scale[part]).sample(noise, num, temperature)


class Transformed(NamedTuple):
    """What an invertible map makes of noise ~ N(0, I): a flow as a prior (Rezende and Mohamed 2015, equation 5)."""

    size: int  # D
    forward: Any  # noise [..., D] -> (z [..., D], log |det dz/dnoise| [...])
    inverse: Any  # z -> (noise, log |det dnoise/dz|)

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return log p(z) in nats. z [..., D] -> [...]."""
        noise, log_det = self.inverse(z)
        return standard_normal(self.size).log_prob(noise) + log_det

    def sample(self, key: jax.Array, num: int, temperature: jax.Array | float) -> jax.Array:
        """Return num draws [N,D]; the temperature multiplies the noise."""
        return self.forward(temperature * jax.random.normal(key, (num, self.size)))[0]


class Flowed(NamedTuple):
    """A posterior: what a map makes of draws of a diagonal normal (Rezende and Mohamed 2015, equation 13)."""

    base: Normal  # [B,D]
    forward: Any  # z0 [K,B,D] -> (z [K,B,D], log |det dz/dz0| [K,B])

    @property
    def mean(self) -> jax.Array:
        """The image of the mean of the base, which is not the mean of the draws."""
        return self.forward(self.base.loc[None])[0][0]

    def draw(self, keys: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """Return z [K,B,D] and log q(z|x) [K,B]; keys [B]."""
        start, log_q = self.base.draw(keys, k)
        z, log_det = self.forward(start)
        return z, log_q - log_det

    def kl_to(self, prior: Any) -> None:
        """Return None: there is no closed form."""
        del prior


def normal_noise(keys: jax.Array, k: int, size: int) -> jax.Array:
    """Return N(0, I) noise [K,B,D], that of each example from its own key [B]."""
    return jax.vmap(lambda key: jax.random.normal(key, (k, size)), out_axes=1)(keys)


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


def product(a: Normal, b: Normal) -> Normal:
    """Return the normal distribution whose density is proportional to the product of two densities.

    Precisions add up, and the means are weighted with them (precision-weighted combination: Sonderby et al. 2016).
    """
    of_a, of_b = (1 / jnp.square(part.scale) for part in (a, b))
    return Normal((of_a * a.loc + of_b * b.loc) / (of_a + of_b), jax.lax.rsqrt(of_a + of_b))


def clipped_logit(mean: np.ndarray) -> np.ndarray:
    """Return log p/(1-p) of p clipped to 0.005..0.995: a pixel that is never on does not start at minus infinity."""
    clipped = np.clip(mean, 0.005, 0.995)
    return np.log(clipped) - np.log1p(-clipped)
