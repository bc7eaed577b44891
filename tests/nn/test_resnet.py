"""Residual networks take pictures of any size; their blocks add what they say, little at first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.nn import decoders, encoders
from vae_jax.nn.resnet import _Blocks

RNG = np.random.default_rng(0)
SHAPES = [pytest.param((28, 28, 1), marks=pytest.mark.long), (3, 5, 2)]
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

    (of_x, of_context), change = run(np.float32(RNG.normal(size=(2, *shape))), np.eye(3, dtype=np.float32)[:2])
    assert change.shape == (1, *shape, 2)
    assert all((np.abs(moves) > 0).all() for moves in (of_x, of_context, change))


def test_blocks_add_two_convolutions_of_the_activations():
    blocks = _Blocks(3, 2, nnx.relu, nnx.Rngs(0))
    x = np.float32(RNG.normal(size=(2, 6, 7, 3)))

    @jax.jit
    def conv(x, kernel, bias):  # XLA's own
        form = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        return jax.lax.conv_general_dilated(jnp.maximum(x, 0), kernel, (1, 1), "SAME", **form) + bias

    expected = x
    for i in range(2):
        inner = expected
        for layer in blocks.first[f"block_{i}"], blocks.last[f"block_{i}"]:
            inner = conv(inner, layer.kernel[...], layer.bias[...])
        expected = expected + inner
    np.testing.assert_allclose(jax.jit(blocks)(x), expected, atol=1e-5)


def test_blocks_correct_rather_than_replace():
    blocks = _Blocks(16, 4, nnx.relu, nnx.Rngs(0))
    x = np.float32(RNG.normal(size=(2, 8, 8, 16)))
    assert 0 < np.square(jax.jit(blocks)(x) - x).mean() < 0.5 * np.square(x).mean()
