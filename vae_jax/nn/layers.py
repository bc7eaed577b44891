"""Layers that encoders and decoders share."""

from __future__ import annotations

import jax
from flax import nnx

from vae_jax.nn.conv import conv, conv_transpose


class Dense(nnx.Module):
    """Dense layers, each followed by the activation; () is the identity. That of "glu" halves what a layer gives."""

    def __init__(self, num_inputs: int, widths: tuple[int, ...], activation: str, rngs: nnx.Rngs):
        self.activation = getattr(nnx, activation)
        sizes, parts = (num_inputs, *widths), 2 if activation == "glu" else 1
        self.layers = nnx.Dict(
            {f"dense_{i}": nnx.Linear(sizes[i], parts * sizes[i + 1], rngs=rngs) for i in range(len(widths))}
        )
        self.num_features = sizes[-1]

    def __call__(self, x: jax.Array) -> jax.Array:
        """[N, num_inputs] -> [N, num_features]."""
        for layer in self.layers.values():
            x = self.activation(layer(x))
        return x


class Conv(nnx.Module):
    """A strided convolution with SAME padding and a bias; a gain of 1 keeps the variance of unit inputs."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, rngs: nnx.Rngs, gain: float = 1.0):
        initial = nnx.initializers.lecun_normal()(rngs.params(), (kernel, kernel, inputs, outputs))
        self.kernel = nnx.Param(gain * initial)
        self.bias = nnx.Param(jax.numpy.zeros(outputs))
        self.stride = stride

    def __call__(self, x: jax.Array) -> jax.Array:
        """[N,H,W,inputs] -> [N,ceil(H/s),ceil(W/s),outputs]."""
        return conv(x, self.kernel[...], self.stride) + self.bias[...]


class ConvTranspose(nnx.Module):
    """The adjoint of a strided convolution, to pictures of a given shape; without a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, shape: tuple[int, int], rngs: nnx.Rngs):
        # Each output pixel receives kernel^2 / stride^2 terms from each input channel.
        scale = stride / kernel / inputs**0.5
        self.kernel = nnx.Param(scale * jax.random.normal(rngs.params(), (kernel, kernel, outputs, inputs)))
        self.stride, self.shape = stride, shape

    def __call__(self, x: jax.Array) -> jax.Array:
        """[N,ceil(H/s),ceil(W/s),inputs] -> [N,H,W,outputs]."""
        return conv_transpose(x, self.kernel[...], self.stride, self.shape)
