"""Patches cover a picture of any size and give it back; a mixer's blocks start close to the identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.nn import decoders, encoders
from vae_jax.nn.mixer import Mixer, from_patches, grid, to_patches

RNG = np.random.default_rng(0)
SHAPES = [(9, 14, 3), *(pytest.param(shape, marks=pytest.mark.long) for shape in ((28, 28, 1), (8, 8, 1), (3, 5, 2)))]


@pytest.mark.parametrize("shape", SHAPES)
def test_patches_give_the_picture_back(shape):
    x = np.float32(RNG.normal(size=(2, *shape)))
    tokens = to_patches(x, 4)
    assert tokens.shape == (2, int(np.prod(grid(*shape[:2], 4))), 16 * shape[2])
    np.testing.assert_array_equal(from_patches(tokens, 4, shape), x)


def test_a_patch_is_a_square_of_the_picture():
    x = jnp.arange(64.0).reshape(1, 8, 8, 1)
    np.testing.assert_array_equal(to_patches(x, 4)[0, 1].reshape(4, 4), x[0, :4, 4:, 0])


@pytest.mark.parametrize("shape", SHAPES)
def test_networks_take_any_shape_and_every_pixel_counts(shape):
    @jax.jit
    def run(x, context):
        encoder = encoders.mixer(shape, 3, nnx.Rngs(0), patch=4, width=8, depth=1)
        decoder = decoders.mixer(5, np.full((*shape, 2), 0.25), nnx.Rngs(0), patch=4, width=8, depth=1)
        features, pull = jax.vjp(encoder, x, context)
        assert features.shape == (2, encoder.num_features)
        assert decoder(jnp.ones((2, 5))).shape == (2, *shape, 2)
        return features, encoder(x, context[::-1]), pull(2 * features)[0], decoder(jnp.zeros((1, 5)))[0]

    features, other, gradient, start = run(np.float32(RNG.normal(size=(2, *shape))), np.eye(3, dtype=np.float32)[:2])
    assert (np.abs(gradient) > 0).all()
    assert not np.allclose(features, other)
    np.testing.assert_allclose(start, 0.25, atol=1e-6)


def test_blocks_correct_rather_than_replace_and_reach_every_patch():
    mixer, x = Mixer(6, 8, 2, "relu", nnx.Rngs(0)), np.float32(RNG.normal(size=(4, 6, 8)))
    change = np.zeros_like(x)
    change[:, 0] = 1
    y, moved = jax.jit(lambda x, change: jax.jvp(mixer, (x,), (change,)))(x, change)
    assert 0 < np.square(y - x).mean() < 0.5 * np.square(x).mean()
    assert (np.abs(moved).max((0, 2)) > 0).all()
