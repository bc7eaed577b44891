"""Residual networks between pictures and codes: He et al. (2016b), with the activation before the convolution.

A level is a strided convolution and `depth` blocks x + conv(act(conv(act(x)))). There is no batch norm; instead the
last convolution of a block starts small, so that the sums do not grow with the depth.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vae_jax.nn.conv import output_size
from vae_jax.nn.layers import Conv, ConvTranspose, Dense

_KERNEL, _GAIN = 3, 0.3  # of the convolutions within a block; of the last of them


class ResNetEncoder(nnx.Module):
    """From a picture [N,H,W,C] and a context [N,E] to features [N, num_features]."""

    def __init__(self, shape, num_context, channels, depth, kernel, stride, hidden, activation, rngs):
        self.activation = getattr(nnx, activation)
        height, width, inputs = shape
        self.convs, self.blocks = nnx.Dict({}), nnx.Dict({})
        for i, outputs in enumerate(channels):
            self.convs[f"level_{i}"] = Conv(inputs, outputs, kernel, stride, rngs)
            self.blocks[f"level_{i}"] = _Blocks(outputs, depth, self.activation, rngs)
            height, width, inputs = output_size(height, stride), output_size(width, stride), outputs
        self.dense = Dense(math.prod((height, width, inputs)) + num_context, hidden, activation, rngs)
        self.num_features = self.dense.num_features

    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        for name, layer in self.convs.items():
            x = self.blocks[name](layer(x))
        x = self.activation(x).reshape(len(x), -1)
        return self.dense(jnp.concatenate([x, context], -1))


class ResNetDecoder(nnx.Module):
    """From a code [N,E] to maps [N,H,W,C,P], whose bias starts at `offset` [H,W,C,P]."""

    def __init__(self, num_inputs, offset: np.ndarray, channels, depth, kernel, stride, hidden, activation, rngs):
        self.activation = getattr(nnx, activation)
        sizes = [offset.shape[:2]]
        for _ in channels:
            sizes.append(tuple(output_size(n, stride) for n in sizes[-1]))
        self.seed_shape = (*sizes[-1], channels[0])
        self.dense = Dense(num_inputs, hidden, activation, rngs)
        self.spread = nnx.Linear(self.dense.num_features, math.prod(self.seed_shape), rngs=rngs)
        outputs = (*channels[1:], math.prod(offset.shape[2:]))
        self.blocks, self.convs = nnx.Dict({}), nnx.Dict({})
        for i, (inputs, width) in enumerate(zip(channels, outputs, strict=True)):
            self.blocks[f"level_{i}"] = _Blocks(inputs, depth, self.activation, rngs)
            self.convs[f"level_{i}"] = ConvTranspose(inputs, width, kernel, stride, sizes[-2 - i], rngs)
        self.offset = nnx.Param(jnp.asarray(offset, jnp.float32))

    def __call__(self, code: jax.Array) -> jax.Array:
        x = self.spread(self.dense(code)).reshape(-1, *self.seed_shape)
        for name, layer in self.convs.items():
            x = layer(self.activation(self.blocks[name](x)))
        return x.reshape(-1, *self.offset.shape) + self.offset[...]


class _Blocks(nnx.Module):
    def __init__(self, channels, depth, activation, rngs):
        self.activation = activation
        self.first, self.last = nnx.Dict({}), nnx.Dict({})
        for i in range(depth):
            self.first[f"block_{i}"] = Conv(channels, channels, _KERNEL, 1, rngs)
            self.last[f"block_{i}"] = Conv(channels, channels, _KERNEL, 1, rngs, gain=_GAIN)

    def __call__(self, x: jax.Array) -> jax.Array:
        for name, first in self.first.items():
            x = x + self.last[name](self.activation(first(self.activation(x))))
        return x
