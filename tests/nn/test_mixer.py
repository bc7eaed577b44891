"""Patches cover a picture of any size and give it back; a mixer's blocks start close to the identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.nn import decoders, encoders
from vae_jax.nn.mixer import Mixer, from_patches, grid, to_patches

SHAPES = [(28, 28, 1), (8, 8, 1), (9, 14, 3), (3, 5, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_patches_give_the_picture_back(shape):
    x = jax.random.normal(jax.random.key(0), (2, *shape))
    tokens = to_patches(x, 4)
    assert tokens.shape == (2, int(np.prod(grid(*shape[:2], 4))), 16 * shape[2])
    np.testing.assert_array_equal(from_patches(tokens, 4, shape), x)


def test_a_patch_is_a_square_of_the_picture():
    x = jnp.arange(64.0).reshape(1, 8, 8, 1)
    np.testing.assert_array_equal(to_patches(x, 4)[0, 1].reshape(4, 4), x[0, :4, 4:, 0])


@pytest.mark.parametrize("shape", [*SHAPES[:2], *(pytest.param(shape, marks=pytest.mark.long) for shape in SHAPES[2:])])
def test_networks_take_any_shape_and_every_pixel_counts(shape):
    encoder = encoders.mixer(shape, 3, nnx.Rngs(0), patch=4, width=8, depth=1)
    decoder = decoders.mixer(5, np.full((*shape, 2), 0.25), nnx.Rngs(0), patch=4, width=8, depth=1)
    x, context = jax.random.normal(jax.random.key(1), (2, *shape)), jnp.eye(3)[:2]
    assert encoder(x, context).shape == (2, encoder.num_features)
    gradient = jax.grad(lambda x: jnp.sum(encoder(x, context) ** 2))(x)
    assert (jnp.abs(gradient) > 0).all()
    assert not jnp.allclose(encoder(x, context), encoder(x, context[::-1]))
    assert decoder(jnp.ones((2, 5))).shape == (2, *shape, 2)
    np.testing.assert_allclose(decoder(jnp.zeros((1, 5)))[0], 0.25, atol=1e-6)


def test_blocks_correct_rather_than_replace_and_reach_every_patch():
    mixer, x = Mixer(6, 8, 2, "relu", nnx.Rngs(0)), jax.random.normal(jax.random.key(2), (4, 6, 8))
    assert 0 < jnp.square(mixer(x) - x).mean() < 0.5 * jnp.square(x).mean()
    moved = jax.jvp(mixer, (x,), (jnp.zeros_like(x).at[:, 0].set(1.0),))[1]
    assert (jnp.abs(moved).max((0, 2)) > 0).all()
