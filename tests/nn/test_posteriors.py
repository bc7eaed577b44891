"""Posteriors: what they say is the density of their draws is it, by autodiff of the whole map from the noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from flax import nnx

from vae_jax.build import build, components
from vae_jax.errors import ConfigError
from vae_jax.nn import posteriors

RNG = np.random.default_rng(0)
FEATURES = np.float32(RNG.normal(size=(3, 6)))
KEYS = jax.random.split(jax.random.key(1), 3)
FLOWS = ["planar", "householder", "iaf"]


def made(name, latent, **fields):
    module = build("nn.posteriors", {"name": name, **fields})(6, latent, nnx.Rngs(0))
    for _, leaf in nnx.iter_graph(module):  # away from what a start has of zeros
        if isinstance(leaf, nnx.Param):
            leaf[...] = jnp.asarray(leaf + 0.1 * RNG.normal(size=leaf.shape), jnp.float32)
    return module


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("latent", [pytest.param(1, marks=pytest.mark.long), 4])
def test_log_determinant_of_a_flow_is_that_of_autodiff(name, latent):
    flow = made(name, latent, depth=3).flow
    start = np.float32(RNG.normal(size=(2, 3, latent)))
    _, log_det = jax.jit(lambda z: flow(FEATURES)(z))(start)

    def slope(z, features):
        return jax.jacfwd(lambda z: flow(features[None])(z[None, None])[0][0, 0])(z)

    slopes = jax.jit(jax.vmap(jax.vmap(slope), (0, None)))(start, FEATURES)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(slopes)[1], atol=1e-3)


def test_inverse_autoregressive_layers_see_earlier_latents_only():
    layer = made("iaf", 5, depth=1).flow.layers["layer_0"]
    for part in range(2):
        slope = jax.jit(jax.jacfwd(lambda z, part=part: layer(z[None], FEATURES[:1])[part][0]))(np.arange(5.0))
        np.testing.assert_array_equal(np.triu(slope), 0)
        assert (np.abs(np.tril(slope, -1))[np.tril_indices(5, -1)] > 0).all()


def test_householder_maps_are_orthogonal():
    flow = made("householder", 4, depth=3).flow
    slope = jax.jit(jax.jacfwd(lambda z: flow(FEATURES[:1])(z[None, None])[0][0, 0]))(np.ones(4))
    np.testing.assert_allclose(slope @ slope.T, np.eye(4), atol=1e-5)


@pytest.mark.parametrize("name", ["householder", "von_mises_fisher"])
def test_features_that_are_all_zero_have_a_finite_gradient(name):
    graph, state = nnx.split(build("nn.posteriors", {"name": name})(6, 4, nnx.Rngs(0)))  # its biases are 0

    def first(state):
        q = nnx.merge(graph, state)(jnp.zeros_like(FEATURES[:1]))
        return q.draw(jax.random.split(jax.random.key(0), 1), 1)[0][0, 0, 0]

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.jit(jax.grad(first))(state)))


def test_planar_layers_are_invertible_whatever_the_encoder_says():
    """w . u >= -1 (appendix A.1): the map grows along w, even where the raw u would fold it."""
    module = made("planar", 1, depth=1)
    module.flow.layers.kernel[...] *= 0
    module.flow.layers.bias[...] = jnp.array([-9.0, 2.0, 0.1])  # u, w, b
    z = jnp.linspace(-4, 4, 400)[:, None, None]
    moved, _ = module.flow(FEATURES[:1])(z)
    assert (np.diff(moved[:, 0, 0]) > 0).all()


@pytest.mark.parametrize("name", ["planar", "iaf"])
def test_the_density_of_a_flow_integrates_to_one(name):
    """In one dimension: the density over the draws' own grid, by the trapezoidal rule."""
    module, noise = made(name, 1, depth=2), np.linspace(-8, 8, 20001, dtype=np.float32)[:, None, None]

    @jax.jit
    def density(noise):
        q = module(FEATURES[:1])
        z, log_det = q.forward(q.base.at(noise))
        return z, q.base.log_prob(q.base.at(noise)) - log_det

    z, log_q = density(noise)
    assert scipy.integrate.trapezoid(np.exp(log_q[:, 0]), z[:, 0, 0]) == pytest.approx(1, abs=1e-3)


def test_full_covariance_has_a_positive_diagonal_and_uses_all_below():
    module = made("full_covariance", 4)
    factor = jax.jit(lambda features: module(features).factor)(FEATURES)
    assert (np.diagonal(factor, axis1=1, axis2=2) > 0).all()
    assert (np.abs(factor)[:, *np.tril_indices(4)] > 0).all()
    np.testing.assert_array_equal(np.triu(factor, 1), 0)


@pytest.mark.parametrize("name", sorted(components("nn.posteriors")))
def test_the_noise_of_an_example_is_its_own(name):
    fields = {"categories": 3} if name in ("gumbel_softmax", "joint") else {}
    module = made(name, 6, **fields)
    draw = jax.jit(lambda features, keys: (*module(features).draw(keys, 4), module(features).mean))
    z, log_q, mean = draw(FEATURES, KEYS)
    alone, log_alone, _ = draw(FEATURES[1:2], KEYS[1:2])
    assert z.shape == (4, 3, 6)
    np.testing.assert_allclose(z[:, 1:2], alone, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_q[:, 1:2], log_alone, rtol=1e-4, atol=1e-4)
    assert mean.shape == (3, 6)


@pytest.mark.parametrize(
    "make, latent, text",
    [
        (posteriors.von_mises_fisher, 1, "a sphere needs 2 dimensions"),
        (posteriors.gumbel_softmax, 15, "does not hold one-hot vectors of 10"),
        (posteriors.joint, 9, "does not hold one-hot vectors of 10"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make, latent, text):
    with pytest.raises(ConfigError, match=text):
        make(6, latent, nnx.Rngs(0))


def test_two_inverse_autoregressive_layers_see_latents_on_both_sides():
    """The order is reversed in between, so that the first latent depends on the last one."""
    flow = made("iaf", 4, depth=2).flow
    slope = jax.jit(jax.jacfwd(lambda z: flow(FEATURES[:1])(z[None, None])[0][0, 0]))(np.arange(4.0))
    assert np.abs(np.triu(slope, 1)).max() > 1e-4 < np.abs(np.tril(slope, -1)).max()


def test_a_direction_is_never_vaguer_than_a_concentration_of_one():
    module = made("von_mises_fisher", 4)
    module.concentration.bias[...] = jnp.full(1, -50.0)
    assert (np.asarray(module(FEATURES).concentration) >= 1).all()
