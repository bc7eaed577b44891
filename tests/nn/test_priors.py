"""Priors: each draws from the density that it states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from vae_jax.build import build, components
from vae_jax.errors import ConfigError
from vae_jax.nn.posteriors import diagonal, full_covariance

MEAN = np.random.default_rng(0).uniform(0.1, 0.9, (3, 2, 1)).astype(np.float32)
SMALL = {"mixture": {"components": 4}, "vamp": {"components": 5}, "flow": {"depth": 2, "width": 8}}
SMALL |= {name: {"categories": 3} for name in ("uniform_categories", "joint")}


def posterior_of(latent, make=diagonal):
    module = make(6, latent, nnx.Rngs(1))
    return lambda x: module(x.reshape(len(x), -1))


def made(name, latent):
    return build("nn.priors", {"name": name, **SMALL.get(name, {})})(latent, MEAN, nnx.Rngs(0))


@pytest.mark.parametrize("name", sorted(components("nn.priors")))
def test_the_density_is_that_of_the_draws(name):
    """E[1/p(z)] over draws within a region is the region's volume: no draw and no density is out of place."""

    def run(latent, count, grid=None):
        prior, infer = made(name, latent), posterior_of(latent)

        @jax.jit
        def drawn(key):
            p = prior(infer)
            z = p.sample(key, count, 1.0)
            return z, p.log_prob(z if grid is None else grid)

        return map(np.asarray, drawn(jax.random.key(0)))

    z, log_prob = run(6, 50)
    assert z.shape == (50, 6)
    assert np.isfinite(log_prob).all()
    if name in ("uniform_sphere", "uniform_categories", "joint"):
        return  # closed forms: tests/prob/
    grid = np.linspace(-9, 9, 6001)
    z, log_prob = run(1, 40000, np.float32(grid)[:, None])
    z, density = np.sort(z[:, 0]), np.exp(log_prob.astype(np.float64))
    cumulative = np.cumsum(density) * (grid[1] - grid[0])
    assert cumulative[-1] == pytest.approx(1, abs=2e-3)
    assert np.abs(np.interp(z, grid, cumulative) - np.arange(len(z)) / len(z)).max() < 0.015


def test_the_vamp_prior_is_the_mean_of_the_posteriors_of_its_pictures():
    prior, infer = made("vamp", 2), posterior_of(2)
    z = jnp.asarray(np.random.default_rng(1).normal(size=(7, 2)), jnp.float32)
    parts = infer(jax.nn.sigmoid(prior.pictures[...]))
    each = np.stack([np.asarray(parts.log_prob(point[None])) for point in z])
    np.testing.assert_allclose(prior(infer).log_prob(z), scipy.special.logsumexp(each, 1) - np.log(5), rtol=1e-4)


def test_the_vamp_prior_refuses_posteriors_that_are_no_diagonal_normals():
    with pytest.raises(ConfigError, match=r"needs model\.posterior\.name=diagonal"):
        made("vamp", 2)(posterior_of(2, full_covariance))
