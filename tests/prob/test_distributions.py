"""The normal distribution and the KL divergence against SciPy and sampling, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vae_jax.prob.distributions import Normal, kl, standard_normal


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(3, 4)), rng.uniform(0.3, 2.0, size=(3, 4))
    p = rng.normal(size=4), rng.uniform(0.3, 2.0, size=4)
    return q, p


def test_log_prob_is_scipys(pair):
    with jax.enable_x64(True):
        (loc, scale), _ = pair
        z = np.random.default_rng(1).normal(size=(5, 3, 4))
        expected = scipy.stats.norm(loc, scale).logpdf(z).sum(-1)
        np.testing.assert_allclose(
            Normal(jnp.array(loc), jnp.array(scale)).log_prob(jnp.array(z)), expected, rtol=1e-12
        )


def test_kl_is_the_mean_log_ratio_of_samples(pair):
    with jax.enable_x64(True):
        q, p = (Normal(*map(jnp.array, parameters)) for parameters in pair)
        z = q.at(jax.random.normal(jax.random.key(0), (200_000, 3, 4)))
        ratio = np.asarray(q.log_prob(z) - p.log_prob(z))
        error = ratio.std(axis=0) / len(ratio) ** 0.5
        assert np.all(np.abs(kl(q, p) - ratio.mean(axis=0)) < 5 * error)


def test_kl_to_itself_is_zero_and_else_positive(pair):
    q, p = (Normal(*map(jnp.float32, parameters)) for parameters in pair)
    np.testing.assert_allclose(kl(q, q), 0, atol=1e-6)
    assert np.all(kl(q, p) > 0)


def test_kl_to_standard_normal_is_the_formula_of_the_paper(pair):
    (mu, sigma), _ = pair
    expected = -0.5 * (1 + np.log(sigma**2) - mu**2 - sigma**2).sum(-1)
    np.testing.assert_allclose(kl(Normal(jnp.float32(mu), jnp.float32(sigma)), standard_normal(4)), expected, rtol=1e-5)


def test_reparameterized_samples_have_the_moments(pair):
    (loc, scale), _ = pair
    z = Normal(jnp.float32(loc), jnp.float32(scale)).at(jax.random.normal(jax.random.key(1), (100_000, 3, 4)))
    np.testing.assert_allclose(z.mean(0), loc, atol=0.03)
    np.testing.assert_allclose(z.std(0), scale, rtol=0.02)
