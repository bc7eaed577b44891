"""Coupling layers against automatic differentiation and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.stats import norm

from vae_jax.nn.coupling import Coupling

SIZES = [1, 2, 3, 5]


def flow(size, depth=3, noise=0.5):
    """Return a flow away from its start, where it is near the identity."""
    module = Coupling(size, depth, 8, nnx.Rngs(0))
    graph, state = nnx.split(module)
    leaves, tree = jax.tree.flatten(state)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + noise * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return nnx.merge(graph, jax.tree.unflatten(tree, moved))


@pytest.mark.parametrize("size", SIZES)
def test_log_determinant_is_that_of_the_jacobian(size):
    module, u = flow(size), jax.random.normal(jax.random.key(2), (4, size))
    for function in module.forward, module.inverse:
        jacobian = jax.vmap(jax.jacfwd(lambda row, function=function: function(row)[0]))(u)
        expected = jnp.linalg.slogdet(jacobian)[1]
        assert jnp.abs(expected).max() > 0.1
        np.testing.assert_allclose(function(u)[1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_inverse_undoes_forward_whatever_the_leading_axes(size):
    module, u = flow(size), jax.random.normal(jax.random.key(3), (2, 3, size))
    z, log_det = module.forward(u)
    again, back = module.inverse(z)
    assert log_det.shape == back.shape == (2, 3)
    np.testing.assert_allclose(again, u, atol=1e-4)
    np.testing.assert_allclose(back, -log_det, atol=1e-4)
    np.testing.assert_allclose(module.forward(u[1, 2])[0], z[1, 2], atol=1e-5)


@pytest.mark.parametrize("depth, whole", [(1, False), (2, True)])
def test_a_pair_of_layers_changes_every_number_by_others(depth, whole):
    jacobian = jax.jacfwd(lambda u: flow(5, depth).forward(u)[0])(jnp.arange(5.0))
    off_diagonal = jnp.abs(jacobian - jnp.diag(jnp.diag(jacobian))).sum(1) > 1e-3
    assert bool(off_diagonal.all()) == whole


def test_density_integrates_to_one():
    module, step = flow(2, depth=4, noise=0.1), 0.05
    line = np.arange(-20, 20, step)
    grid = jnp.stack(jnp.meshgrid(line, line), -1)
    u, log_det = jax.jit(module.inverse)(grid)
    density = jnp.exp(norm.logpdf(np.asarray(u)).sum(-1) + log_det)
    assert float(density.sum()) * step**2 == pytest.approx(1, abs=1e-3)


def test_starts_near_the_identity():
    module, u = Coupling(4, 4, 8, nnx.Rngs(0)), jax.random.normal(jax.random.key(4), (100, 4))
    z, log_det = module.forward(u)
    assert 0 < jnp.abs(z - u).max() < 1
    assert jnp.abs(log_det).max() < 1
