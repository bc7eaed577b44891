"""Coupling layers against automatic differentiation and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.stats import norm

from vae_jax.nn.coupling import Coupling

RNG = np.random.default_rng(0)
SIZES = [1, *(pytest.param(size, marks=pytest.mark.long) for size in (2, 3)), 5]


def flow(size, depth=3, noise=0.5):
    """Return a flow away from its start, where it is near the identity."""
    module = Coupling(size, depth, 8, nnx.Rngs(0))
    graph, state = nnx.split(module)
    moved = jax.tree.map(lambda leaf: np.float32(leaf + noise * RNG.normal(size=leaf.shape)), state)
    return nnx.merge(graph, jax.tree.map(jnp.asarray, moved))


@pytest.mark.parametrize("size", SIZES)
def test_log_determinant_is_that_of_the_jacobian(size):
    module, u = flow(size), np.float32(RNG.normal(size=(4, size)))
    for function in module.forward, module.inverse:
        jacobian = jax.vmap(jax.jacfwd(lambda row, function=function: function(row)[0]))
        slopes, (_, log_det) = jax.jit(lambda u, run=function, jacobian=jacobian: (jacobian(u), run(u)))(u)
        expected = np.linalg.slogdet(slopes)[1]
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(log_det, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_inverse_undoes_forward_whatever_the_leading_axes(size):
    module, u = flow(size), np.float32(RNG.normal(size=(2, 3, size)))
    z, log_det = jax.jit(module.forward)(u)
    again, back = jax.jit(module.inverse)(z)
    assert log_det.shape == back.shape == (2, 3)
    np.testing.assert_allclose(again, u, atol=1e-4)
    np.testing.assert_allclose(back, -log_det, atol=1e-4)
    np.testing.assert_allclose(jax.jit(module.forward)(u[1, 2])[0], z[1, 2], atol=1e-5)


@pytest.mark.parametrize("depth, whole", [(1, False), (2, True)])
def test_a_pair_of_layers_changes_every_number_by_others(depth, whole):
    module = flow(5, depth)
    jacobian = np.asarray(jax.jit(jax.jacfwd(lambda u: module.forward(u)[0]))(np.arange(5.0)))
    off_diagonal = np.abs(jacobian - np.diag(np.diag(jacobian))).sum(1) > 1e-3
    assert off_diagonal.all() == whole


def test_density_integrates_to_one():
    module, step = flow(2, depth=4, noise=0.1), 0.05
    line = np.arange(-20, 20, step)
    grid = np.float32(np.stack(np.meshgrid(line, line), -1))
    u, log_det = jax.jit(module.inverse)(grid)
    density = np.exp(norm.logpdf(np.asarray(u)).sum(-1) + log_det)
    assert density.sum() * step**2 == pytest.approx(1, abs=1e-3)


def test_starts_near_the_identity():
    u = np.float32(RNG.normal(size=(100, 4)))
    z, log_det = jax.jit(Coupling(4, 4, 8, nnx.Rngs(0)).forward)(u)
    assert 0 < np.abs(z - u).max() < 1
    assert np.abs(log_det).max() < 1
