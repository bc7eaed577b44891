"""Spectral normalisation against the singular values of NumPy, and its gradient against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.nn import decoders
from vae_jax.nn.bind import bind
from vae_jax.nn.spectral import SpectralNorm

OFFSET = np.full((6, 5, 2, 1), 0.25)


def decoder_of(name, **fields):
    make = getattr(decoders, name)
    return SpectralNorm(lambda rngs: make(3, OFFSET, rngs, **fields), nnx.Rngs(0))


@pytest.mark.parametrize(
    "name, fields",
    [("mlp", {"hidden": (7, 6)}), ("conv", {"channels": (4, 3), "kernel": 3, "hidden": (5,)})],
)
def test_norms_tend_to_the_largest_singular_values_from_below(name, fields):
    net = decoder_of(name, **fields)
    exact = {}
    for path, value in jax.tree_util.tree_leaves_with_path(net._values()):
        if path[-1].key == "kernel":
            matrix = np.asarray(value, np.float64).reshape(-1, value.shape[-1])
            exact["/".join(entry.key for entry in path)] = np.linalg.svd(matrix, compute_uv=False)[0]
    assert len(exact) == 3 + (name == "conv")
    norms = net.norms()
    assert all(0.8 * exact[n] < norms[n] <= exact[n] * (1 + 1e-6) for n in exact)
    for _ in range(100):
        net.iterate()
    for path, norm in net.norms().items():
        assert float(norm) == pytest.approx(exact[path], rel=1e-4)


def test_a_linear_decoder_stretches_no_code_and_one_of_them_not_at_all():
    net = decoder_of("mlp", hidden=())
    for _ in range(100):
        net.iterate()
    jacobian = jax.jacobian(lambda z: net(z[None])[0].ravel())(jnp.zeros(3))
    assert np.linalg.svd(jacobian, compute_uv=False)[0] == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(net(jnp.zeros((1, 3)))[0], OFFSET)


def test_the_gradient_is_that_of_a_matrix_over_its_largest_singular_value():
    network = bind(lambda rngs: SpectralNorm(lambda r: nnx.Linear(4, 3, rngs=r), rngs))
    params, stats = network.init(jax.random.key(0))
    net = network.merge(params, stats)
    for _ in range(100):
        net.iterate()
    stats, x, weights = network.stats(net), jax.random.normal(jax.random.key(1), (5, 4)), np.arange(15.0).reshape(5, 3)
    gradient = jax.grad(lambda p: (network.merge(p, stats)(x) * weights).sum())(params)["params"]["kernel"]
    kernel, step = np.asarray(params["params"]["kernel"], np.float64), 1e-6

    def value(kernel):
        return ((np.asarray(x, np.float64) @ kernel / np.linalg.norm(kernel, 2)) * weights).sum()

    for i, j in np.ndindex(4, 3):
        change = step * np.eye(12)[3 * i + j].reshape(4, 3)
        slope = (value(kernel + change) - value(kernel - change)) / (2 * step)
        assert float(gradient[i, j]) == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_directions_are_statistics_and_only_an_iteration_moves_them():
    network = bind(lambda rngs: SpectralNorm(lambda r: nnx.Linear(4, 3, rngs=r), rngs))
    params, stats = network.init(jax.random.key(0))
    assert set(params["params"]) == {"kernel", "bias"}
    assert stats["directions"]["kernel"].shape == (3,)
    # The weights have moved since, as in training.
    net = network.merge(jax.tree.map(lambda p: p + jnp.linspace(0, 1, p.size).reshape(p.shape), params), stats)
    net(jnp.ones((2, 4)))
    np.testing.assert_array_equal(network.stats(net)["directions"]["kernel"], stats["directions"]["kernel"])
    net.iterate()
    moved = network.stats(net)["directions"]["kernel"]
    assert np.abs(moved - stats["directions"]["kernel"]).max() > 1e-3
    assert np.linalg.norm(moved) == pytest.approx(1, rel=1e-6)
