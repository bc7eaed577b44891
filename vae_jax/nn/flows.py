"""Invertible layers whose parameters come from features: what makes a posterior of a normal one.

Each is a module called as flow(features [B,F]) -> forward, and forward(z0 [K,B,D]) -> (z [K,B,D], log |det dz/dz0|
[K,B]).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Forward = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


class Planar(nnx.Module):
    """z + u tanh(w . z + b) per layer (Rezende and Mohamed 2015, equation 10); all u, w, b from the features.

    u is replaced by u + (softplus(w . u) - 1 - w . u) w / |w|^2, with which the layer is invertible (appendix A.1).
    """

    def __init__(self, num_features: int, size: int, depth: int, rngs: nnx.Rngs):
        self.size, self.depth = size, depth
        self.layers = nnx.Linear(num_features, depth * (2 * size + 1), rngs=rngs)

    def __call__(self, features: jax.Array) -> Forward:
        """Return the map of each example."""
        layers = self.layers(features).reshape(len(features), self.depth, -1)
        u, w, b = layers[..., : self.size], layers[..., self.size : -1], layers[..., -1]
        along = (w * u).sum(-1, keepdims=True)
        u += (jax.nn.softplus(along) - 1 - along) * w / (jnp.square(w).sum(-1, keepdims=True) + 1e-8)

        def forward(z: jax.Array) -> tuple[jax.Array, jax.Array]:
            log_det = jnp.zeros(z.shape[:-1])
            for i in range(self.depth):
                value = jnp.tanh((z * w[:, i]).sum(-1) + b[:, i])
                z = z + u[:, i] * value[..., None]
                slope = (1 - jnp.square(value)) * (w[:, i] * u[:, i]).sum(-1)
                log_det += jnp.log1p(jnp.maximum(slope, -1 + 1e-6))
            return z, log_det

        return forward


class Householder(nnx.Module):
    """z - 2 v (v . z) / |v|^2 per layer, a reflection (Tomczak and Welling 2016, equation 8); v from the features."""

    def __init__(self, num_features: int, size: int, depth: int, rngs: nnx.Rngs):
        self.depth = depth
        self.vectors = nnx.Linear(num_features, depth * size, rngs=rngs)

    def __call__(self, features: jax.Array) -> Forward:
        """Return the map of each example, an orthogonal one."""
        vectors = self.vectors(features).reshape(len(features), self.depth, -1)
        vectors *= jax.lax.rsqrt(jnp.square(vectors).sum(-1, keepdims=True) + 1e-16)  # a norm has no gradient at 0

        def forward(z: jax.Array) -> tuple[jax.Array, jax.Array]:
            for i in range(self.depth):
                v = vectors[:, i]
                z = z - 2 * v * (v * z).sum(-1, keepdims=True)
            return z, jnp.zeros(z.shape[:-1])

        return forward


class InverseAutoregressive(nnx.Module):
    """s z + (1 - s) m per layer, s = sigmoid(...), where s and m of a latent see those before it (Kingma et al. 2016).

    Equations 10 to 14, in the gated form of algorithm 1; the order of the latents is reversed after every layer.
    """

    def __init__(self, num_features: int, size: int, depth: int, width: int, rngs: nnx.Rngs):
        self.layers = nnx.Dict({f"layer_{i}": _Autoregressive(num_features, size, width, rngs) for i in range(depth)})

    def __call__(self, features: jax.Array) -> Forward:
        """Return the map of each example."""

        def forward(z: jax.Array) -> tuple[jax.Array, jax.Array]:
            log_det = jnp.zeros(z.shape[:-1])
            for layer in self.layers.values():
                shift, raw = layer(z, features)
                keep = jax.nn.sigmoid(raw)
                z = (keep * z + (1 - keep) * shift)[..., ::-1]
                log_det += jax.nn.log_sigmoid(raw).sum(-1)
            return z, log_det

        return forward


class _Autoregressive(nnx.Module):
    """Two numbers for each latent from the latents before it and the features: a MADE (Germain et al. 2015)."""

    def __init__(self, num_features: int, size: int, width: int, rngs: nnx.Rngs):
        self.size, self.width = size, width
        self.hidden = nnx.Linear(size, width, rngs=rngs)
        self.features = nnx.Linear(num_features, width, use_bias=False, rngs=rngs)
        self.direct = nnx.Linear(num_features, 2 * size, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, 2 * size, rngs=rngs)

    def __call__(self, z: jax.Array, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        order = np.arange(self.size)
        units = np.arange(self.width) % max(self.size - 1, 1)  # the last latent that a unit sees
        seen, told = order[:, None] <= units, units[:, None] < np.tile(order, 2)
        hidden = z @ (self.hidden.kernel[...] * seen) + self.hidden.bias[...] + self.features(features)
        out = jax.nn.elu(hidden) @ (self.out.kernel[...] * told) + self.out.bias[...] + self.direct(features)
        shift, raw = jnp.split(out, 2, -1)
        return shift, raw + 1.5  # it starts close to the identity
