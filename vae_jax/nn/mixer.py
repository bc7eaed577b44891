"""MLP-Mixer blocks (Tolstikhin et al. 2021): dense layers over the patches of a picture, then over their features.

On a CPU a restorer of these costs a fraction of a convolutional one, for all its work is large matmuls. Two departures
from the paper: root-mean-square norms, with fewer passes over memory, and hidden layers of twice the width throughout.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

_SMALL = nnx.initializers.variance_scaling(0.1, "fan_in", "truncated_normal")


def grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """Return how many patches cover a picture in each direction."""
    return -(-height // patch), -(-width // patch)


def to_patches(x: jax.Array, patch: int) -> jax.Array:
    """[N,H,W,C] -> [N,T,patch*patch*C], T patches row by row; zeros fill what the last ones lack."""
    count, height, width, channels = x.shape
    rows, columns = grid(height, width, patch)
    x = jnp.pad(x, ((0, 0), (0, rows * patch - height), (0, columns * patch - width), (0, 0)))
    x = x.reshape(count, rows, patch, columns, patch, channels).swapaxes(2, 3)
    return x.reshape(count, rows * columns, patch * patch * channels)


def from_patches(tokens: jax.Array, patch: int, shape: tuple[int, int, int]) -> jax.Array:
    """[N,T,patch*patch*C] -> [N,H,W,C] for a shape (H, W, C): the inverse of `to_patches`."""
    height, width, channels = shape
    rows, columns = grid(height, width, patch)
    x = tokens.reshape(-1, rows, columns, patch, patch, channels).swapaxes(2, 3)
    return x.reshape(-1, rows * patch, columns * patch, channels)[:, :height, :width]


class Mixer(nnx.Module):
    """`depth` blocks on [N,T,width]; each adds a correction that starts small."""

    def __init__(self, tokens: int, width: int, depth: int, activation: str, rngs: nnx.Rngs):
        blocks = {f"block_{i}": _Block(tokens, width, getattr(nnx, activation), rngs) for i in range(depth)}
        self.blocks = nnx.Dict(blocks)

    def __call__(self, x: jax.Array) -> jax.Array:
        """[N,T,width] -> [N,T,width]."""
        for block in self.blocks.values():
            x = block(x)
        return x


class _Block(nnx.Module):
    def __init__(self, tokens, width, activation, rngs):
        self.activation = activation
        self.norm_tokens, self.norm_features = nnx.RMSNorm(width, rngs=rngs), nnx.RMSNorm(width, rngs=rngs)
        self.tokens_in = nnx.Linear(tokens, 2 * tokens, rngs=rngs)
        self.tokens_out = nnx.Linear(2 * tokens, tokens, kernel_init=_SMALL, rngs=rngs)
        self.features_in = nnx.Linear(width, 2 * width, rngs=rngs)
        self.features_out = nnx.Linear(2 * width, width, kernel_init=_SMALL, rngs=rngs)

    def __call__(self, x):
        hidden = self.activation(self.tokens_in(self.norm_tokens(x).swapaxes(1, 2)))
        x = x + self.tokens_out(hidden).swapaxes(1, 2)
        return x + self.features_out(self.activation(self.features_in(self.norm_features(x))))
