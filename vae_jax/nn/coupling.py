"""A normalizing flow of affine coupling layers: an invertible map between noise and z whose Jacobian is triangular.

A layer leaves one half of the numbers as they are, and scales and shifts the other by functions of the first (Dinh,
Sohl-Dickstein and Bengio 2017, equations 7 and 8):

    z_1 = u_1,    z_2 = u_2 exp(s(u_1)) + t(u_1),    log |det dz/du| = sum s(u_1).

They are written with a mask, as in equation 9. Two layers in turn swap the halves, and each pair halves the numbers in
another way, the same in every program. Last comes an affine map of every number by itself; one number alone has no more
than that.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vae_jax.nn.layers import Dense

_BOUND = 2.0  # of |s|: no layer alone can send a density to infinity; Dinh et al. bound it by tanh as well


class Coupling(nnx.Module):
    """The flow u [..., D] <-> z [..., D]. It starts near the identity."""

    def __init__(self, size: int, depth: int, width: int, rngs: nnx.Rngs):
        """Make `depth` coupling layers of D=`size` numbers, each by two hidden layers of `width` units."""
        self.depth = depth if size > 1 else 0
        self.layers = nnx.Dict({f"layer_{i}": _Layer(size, i, width, rngs) for i in range(self.depth)})
        self.loc, self.log_scale = nnx.Param(jnp.zeros(size)), nnx.Param(jnp.zeros(size))

    def forward(self, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return z [..., D] and log |det dz/du| [...] of the noise u [..., D]."""
        z, log_det = noise, 0
        for i in range(self.depth):
            z, change = self.layers[f"layer_{i}"].forward(z)
            log_det += change
        return self.loc[...] + jnp.exp(self.log_scale[...]) * z, log_det + self._affine_log_det(z)

    def inverse(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the noise u [..., D] of z [..., D], and log |det du/dz| [...], which is minus that of `forward`."""
        noise, log_det = (z - self.loc[...]) * jnp.exp(-self.log_scale[...]), -self._affine_log_det(z)
        for i in reversed(range(self.depth)):
            noise, change = self.layers[f"layer_{i}"].inverse(noise)
            log_det += change
        return noise, log_det

    def _affine_log_det(self, z: jax.Array) -> jax.Array:
        return jnp.broadcast_to(self.log_scale[...].sum(), z.shape[:-1])


class _Layer(nnx.Module):
    """One coupling layer. Its network sees the numbers that are scaled and shifted as zeros."""

    def __init__(self, size: int, number: int, width: int, rngs: nnx.Rngs):
        self.size, self.number = size, number
        self.dense = Dense(size, (width, width), "silu", rngs)
        small = nnx.initializers.variance_scaling(0.01, "fan_in", "normal")
        self.out = nnx.Linear(width, 2 * size, kernel_init=small, rngs=rngs)

    def forward(self, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_scale, shift = self._of(u)
        return u * jnp.exp(log_scale) + shift, log_scale.sum(-1)

    def inverse(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_scale, shift = self._of(z)
        return (z - shift) * jnp.exp(-log_scale), -log_scale.sum(-1)

    def _of(self, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the logarithm of the scale and the shift of every number: 0 of those that stay as they are."""
        kept = _kept(self.size, self.number)
        raw, shift = jnp.split(self.out(self.dense(kept * values)), 2, -1)
        return (1 - kept) * _BOUND * jnp.tanh(raw / _BOUND), (1 - kept) * shift


def _kept(size: int, number: int) -> np.ndarray:
    """Return 1 for each number [D] that a layer keeps, else 0: a random half, in the next layer the other one."""
    first = np.random.default_rng(number // 2).permutation(size) < size // 2
    return (first != number % 2).astype(np.float32)
