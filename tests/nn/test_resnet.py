"""Residual networks take pictures of any size; their blocks add what they say, little at first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.nn import decoders, encoders
from vae_jax.nn.resnet import _Blocks

SHAPES = [(28, 28, 1), (3, 5, 2)]
SMALL = {"channels": (4, 5), "depth": 2, "hidden": (6,), "activation": "tanh"}


@pytest.mark.parametrize("shape", SHAPES)
def test_networks_take_any_shape_and_every_pixel_counts(shape):
    @jax.jit
    def run(x, context):
        encoder = encoders.resnet(shape, 3, nnx.Rngs(0), **SMALL)
        features, pull = jax.vjp(encoder, x, context)
        assert features.shape == (2, encoder.num_features)
        decoder = decoders.resnet(5, np.full((*shape, 2), 0.25), nnx.Rngs(0), **SMALL)
        return pull(jnp.ones_like(features)), jax.jvp(decoder, (jnp.ones((1, 5)),), (jnp.ones((1, 5)),))[1]

    (of_x, of_context), change = run(jax.random.normal(jax.random.key(1), (2, *shape)), jnp.eye(3)[:2])
    assert change.shape == (1, *shape, 2)
    assert all((np.abs(moves) > 0).all() for moves in (of_x, of_context, change))


def test_blocks_add_two_convolutions_of_the_activations():
    blocks = _Blocks(3, 2, nnx.relu, nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(2), (2, 6, 7, 3))

    def conv(x, layer):  # the values of the layer through XLA's own convolution
        kernel, bias = layer.kernel[...], layer.bias[...]
        return (
            jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        )

    expected = x
    for i in range(2):
        inner = conv(jnp.maximum(expected, 0), blocks.first[f"block_{i}"])
        expected += conv(jnp.maximum(inner, 0), blocks.last[f"block_{i}"])
    np.testing.assert_allclose(blocks(x), expected, atol=1e-5)


def test_blocks_correct_rather_than_replace():
    blocks = _Blocks(16, 4, nnx.relu, nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(2), (2, 8, 8, 16))
    assert 0 < jnp.square(jax.jit(blocks)(x) - x).mean() < 0.5 * jnp.square(x).mean()
