"""Networks from a picture to features. Each public function is a `config.model.encoder.name`.

An encoder is a module called as encoder(x [N,H,W,C], context [N,E]) -> [N, num_features]; E may be 0.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.nn.conv import output_size
from vae_jax.nn.layers import Conv, Dense
from vae_jax.nn.mixer import Mixer, grid, to_patches
from vae_jax.nn.resnet import ResNetEncoder


def mlp(
    shape: tuple[int, int, int],
    num_context: int,
    rngs: nnx.Rngs,
    *,
    hidden: tuple = (500,),
    activation: str = "relu",
) -> nnx.Module:
    """Dense layers on the pixels and the context; hidden=() leaves what follows linear in the pixels."""
    return _Encoder(shape, num_context, (), 1, 1, hidden, activation, rngs)


def gated_mlp(
    shape: tuple[int, int, int], num_context: int, rngs: nnx.Rngs, *, hidden: tuple = (300, 300)
) -> nnx.Module:
    """Dense layers, each multiplied by the sigmoid of another (gated linear units: Dauphin et al. 2017, equation 1)."""
    return _Encoder(shape, num_context, (), 1, 1, hidden, "glu", rngs)


def conv(
    shape: tuple[int, int, int],
    num_context: int,
    rngs: nnx.Rngs,
    *,
    channels: tuple = (32, 64),
    kernel: int = 4,
    stride: int = 2,
    hidden: tuple = (256,),
    activation: str = "relu",
) -> nnx.Module:
    """Strided convolutions, then dense layers on their output and the context. Any H, W, C."""
    return _Encoder(shape, num_context, channels, kernel, stride, hidden, activation, rngs)


def mixer(
    shape: tuple[int, int, int],
    num_context: int,
    rngs: nnx.Rngs,
    *,
    patch: int = 4,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
) -> nnx.Module:
    """An MLP-Mixer of `depth` blocks over patches of patch x patch pixels, with `width` features each. Any H, W, C."""
    return _Mixer(shape, num_context, patch, width, depth, activation, rngs)


def resnet(
    shape: tuple[int, int, int],
    num_context: int,
    rngs: nnx.Rngs,
    *,
    channels: tuple = (32, 64),
    depth: int = 1,
    kernel: int = 4,
    stride: int = 2,
    hidden: tuple = (256,),
    activation: str = "relu",
) -> nnx.Module:
    """Strided convolutions, each followed by `depth` residual blocks of 3x3 ones, then dense layers. Any H, W, C."""
    return ResNetEncoder(shape, num_context, channels, depth, kernel, stride, hidden, activation, rngs)


class _Encoder(nnx.Module):
    def __init__(self, shape, num_context, channels, kernel, stride, hidden, activation, rngs):
        self.activation = getattr(nnx, activation)
        height, width, inputs = shape
        self.convs = nnx.Dict({})
        for i, outputs in enumerate(channels):
            self.convs[f"conv_{i}"] = Conv(inputs, outputs, kernel, stride, rngs)
            height, width, inputs = output_size(height, stride), output_size(width, stride), outputs
        self.dense = Dense(math.prod((height, width, inputs)) + num_context, hidden, activation, rngs)
        self.num_features = self.dense.num_features

    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        for layer in self.convs.values():
            x = self.activation(layer(x))
        return self.dense(jnp.concatenate([x.reshape(len(x), -1), context], -1))


class _Mixer(nnx.Module):
    def __init__(self, shape, num_context, patch, width, depth, activation, rngs):
        self.patch, tokens = patch, math.prod(grid(*shape[:2], patch))
        self.embed = nnx.Linear(patch * patch * shape[2], width, use_bias=False, rngs=rngs)
        self.position = nnx.Param(jnp.zeros((tokens, width)))
        self.context = nnx.Linear(num_context, width, use_bias=False, rngs=rngs) if num_context else None
        self.mixer = Mixer(tokens, width, depth, activation, rngs)
        self.num_features = tokens * width

    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        tokens = self.embed(to_patches(x, self.patch)) + self.position[...]
        if self.context is not None:
            tokens = tokens + self.context(context)[:, None]
        return self.mixer(tokens).reshape(len(x), -1)
