"""The normal distribution and the KL divergence against SciPy and sampling, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vae_jax.precision import with_products
from vae_jax.prob.distributions import FullNormal, Mixture, Normal, Transformed, kl, standard_normal


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


@pytest.fixture
def factors():
    rng = np.random.default_rng(3)
    factor = np.tril(rng.normal(size=(3, 4, 4)), -1) + np.stack([np.diag(row) for row in rng.uniform(0.4, 1.5, (3, 4))])
    return rng.normal(size=(3, 4)), factor


def test_full_normal_is_scipys_multivariate_normal(factors):
    with jax.enable_x64(True):
        loc, factor = factors
        q = FullNormal(jnp.array(loc), jnp.array(factor))
        z, log_q = q.draw(jax.random.split(jax.random.key(0), 3), 6)
        for i in range(3):
            expected = scipy.stats.multivariate_normal(loc[i], factor[i] @ factor[i].T).logpdf(z[:, i])
            np.testing.assert_allclose(log_q[:, i], expected, rtol=1e-10)


def test_full_normal_draws_have_its_covariance_and_its_kl_is_the_mean_log_ratio(factors, pair):
    with jax.enable_x64(True):
        loc, factor = factors
        q, p = FullNormal(jnp.array(loc), jnp.array(factor)), Normal(*map(jnp.array, pair[1]))
        z, log_q = q.draw(jax.random.split(jax.random.key(0), 3), 100_000)
        np.testing.assert_allclose(np.cov(z[:, 1].T), factor[1] @ factor[1].T, atol=0.1)
        ratio = np.asarray(log_q - p.log_prob(z))
        assert np.all(np.abs(q.kl_to(p) - ratio.mean(0)) < 5 * ratio.std(0) / len(ratio) ** 0.5)


def test_full_normal_without_covariances_is_the_diagonal_one(pair):
    q, p = (Normal(*map(jnp.float32, parameters)) for parameters in pair)
    full = FullNormal(q.loc, jax.vmap(jnp.diag)(q.scale))
    np.testing.assert_allclose(full.kl_to(p), kl(q, p), rtol=1e-5)


def test_mixture_is_the_log_of_the_weighted_sum_of_its_parts():
    with jax.enable_x64(True):
        rng = np.random.default_rng(5)
        loc, scale, z = rng.normal(size=(6, 3)), rng.uniform(0.2, 2, (6, 3)), rng.normal(size=(2, 4, 3))
        weights = rng.dirichlet(np.ones(6))
        found = Mixture(jnp.log(jnp.array(weights)) + 2.5, Normal(jnp.array(loc), jnp.array(scale)))
        parts = scipy.stats.norm(loc, scale).pdf(z[:, :, None]).prod(-1)
        np.testing.assert_allclose(found.log_prob(jnp.array(z)), np.log(parts @ weights), rtol=1e-10)


def test_a_mixture_of_narrow_parts_keeps_its_density_in_short_products():
    loc, scale = jnp.array([[3.0], [0.0]]), jnp.array([[0.1], [0.1]])
    mixture, z = Mixture(jnp.array([0.0, -1e9]), Normal(loc, scale)), jnp.array([[3.05]])
    found = jax.jit(with_products("bf16", mixture.log_prob))(z)
    np.testing.assert_allclose(found, scipy.stats.norm(3.0, 0.1).logpdf([3.05]), atol=1e-3)


def test_mixture_draws_follow_weights_and_temperature():
    parts = Normal(jnp.array([[-4.0], [4.0]]), jnp.array([[0.5], [0.1]]))
    mixture = Mixture(jnp.log(jnp.array([0.25, 0.75])), parts)
    z = np.asarray(mixture.sample(jax.random.key(0), 20000, 1.0))[:, 0]
    assert (z > 0).mean() == pytest.approx(0.75, abs=0.02)
    assert z[z < 0].std() == pytest.approx(0.5, rel=0.05)
    cold = np.asarray(mixture.sample(jax.random.key(0), 100, 0.0))[:, 0]
    np.testing.assert_array_equal(cold, 4.0)


def test_a_transformed_normal_has_the_density_of_the_change_of_variables():
    """exp maps a normal to a log-normal."""
    log_normal = Transformed(2, lambda e: (jnp.exp(e), e.sum(-1)), lambda z: (jnp.log(z), -jnp.log(z).sum(-1)))
    z = log_normal.sample(jax.random.key(0), 5, 1.0)
    np.testing.assert_allclose(log_normal.log_prob(z), scipy.stats.lognorm(1).logpdf(z).sum(-1), rtol=1e-4)
