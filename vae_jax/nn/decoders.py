"""Networks from a code to the maps of a picture. Each public function is a `config.model.decoder.name`.

A decoder is a module called as decoder(code [N,E]) -> [N,H,W,C,P], P maps per pixel and channel. Its last layer is
linear, with a bias of its own for every pixel that starts at `offset` [H,W,C,P].
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vae_jax.nn.conv import output_size
from vae_jax.nn.layers import ConvTranspose, Dense
from vae_jax.nn.mixer import Mixer, from_patches, grid
from vae_jax.nn.resnet import ResNetDecoder


def mlp(
    num_inputs: int,
    offset: np.ndarray,
    rngs: nnx.Rngs,
    *,
    hidden: tuple = (500,),
    activation: str = "relu",
) -> nnx.Module:
    """Dense layers, then one linear layer to all pixels."""
    return _Mlp(num_inputs, offset, hidden, activation, rngs)


def gated_mlp(num_inputs: int, offset: np.ndarray, rngs: nnx.Rngs, *, hidden: tuple = (300, 300)) -> nnx.Module:
    """The dense layers of the encoder of that name, then one linear layer to all pixels."""
    return _Mlp(num_inputs, offset, hidden, "glu", rngs)


def conv(
    num_inputs: int,
    offset: np.ndarray,
    rngs: nnx.Rngs,
    *,
    channels: tuple = (64, 32),
    kernel: int = 4,
    stride: int = 2,
    hidden: tuple = (256,),
    activation: str = "relu",
) -> nnx.Module:
    """Dense layers to a small picture of channels[0], then one transposed convolution per entry of `channels`."""
    return _Conv(num_inputs, offset, channels, kernel, stride, hidden, activation, rngs)


def mixer(
    num_inputs: int,
    offset: np.ndarray,
    rngs: nnx.Rngs,
    *,
    patch: int = 4,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
) -> nnx.Module:
    """A linear layer to `width` features of each patch, an MLP-Mixer of `depth` blocks, then the pixels of patches."""
    return _Mixer(num_inputs, offset, patch, width, depth, activation, rngs)


def resnet(
    num_inputs: int,
    offset: np.ndarray,
    rngs: nnx.Rngs,
    *,
    channels: tuple = (64, 32),
    depth: int = 1,
    kernel: int = 4,
    stride: int = 2,
    hidden: tuple = (256,),
    activation: str = "relu",
) -> nnx.Module:
    """Dense layers to a small picture, then `depth` residual blocks and a transposed convolution per entry."""
    return ResNetDecoder(num_inputs, offset, channels, depth, kernel, stride, hidden, activation, rngs)


class _Mlp(nnx.Module):
    def __init__(self, num_inputs, offset, hidden, activation, rngs):
        self.dense = Dense(num_inputs, hidden, activation, rngs)
        self.out = nnx.Linear(self.dense.num_features, offset.size, use_bias=False, rngs=rngs)
        self.offset = nnx.Param(jnp.asarray(offset, jnp.float32))

    def __call__(self, code: jax.Array) -> jax.Array:
        return self.out(self.dense(code)).reshape(-1, *self.offset.shape) + self.offset[...]


class _Conv(nnx.Module):
    def __init__(self, num_inputs, offset, channels, kernel, stride, hidden, activation, rngs):
        self.activation = getattr(nnx, activation)
        height, width = offset.shape[:2]
        sizes = [(height, width)]
        for _ in channels:
            sizes.append(tuple(output_size(n, stride) for n in sizes[-1]))
        self.seed_shape = (*sizes[-1], channels[0])
        self.dense = Dense(num_inputs, (*hidden, math.prod(self.seed_shape)), activation, rngs)
        outputs = (*channels[1:], math.prod(offset.shape[2:]))
        self.convs, self.biases = nnx.Dict({}), nnx.Dict({})
        for i, (inputs, width) in enumerate(zip(channels, outputs, strict=True)):
            self.convs[f"conv_{i}"] = ConvTranspose(inputs, width, kernel, stride, sizes[-2 - i], rngs)
            if i + 1 < len(channels):
                self.biases[f"conv_{i}"] = nnx.Param(jnp.zeros(width))
        self.offset = nnx.Param(jnp.asarray(offset, jnp.float32))

    def __call__(self, code: jax.Array) -> jax.Array:
        x = self.dense(code).reshape(-1, *self.seed_shape)
        for name, layer in self.convs.items():
            x = layer(x)
            if name in self.biases:
                x = self.activation(x + self.biases[name][...])
        return x.reshape(-1, *self.offset.shape) + self.offset[...]


class _Mixer(nnx.Module):
    def __init__(self, num_inputs, offset, patch, width, depth, activation, rngs):
        self.patch, self.width = patch, width
        tokens, maps = math.prod(grid(*offset.shape[:2], patch)), math.prod(offset.shape[2:])
        self.spread = nnx.Linear(num_inputs, tokens * width, rngs=rngs)
        self.mixer = Mixer(tokens, width, depth, activation, rngs)
        self.out = nnx.Linear(width, patch * patch * maps, use_bias=False, rngs=rngs)
        self.offset = nnx.Param(jnp.asarray(offset, jnp.float32))

    def __call__(self, code: jax.Array) -> jax.Array:
        tokens = self.out(self.mixer(self.spread(code).reshape(len(code), -1, self.width)))
        height, width, *maps = self.offset.shape
        pixels = from_patches(tokens, self.patch, (height, width, math.prod(maps)))
        return pixels.reshape(-1, *self.offset.shape) + self.offset[...]
