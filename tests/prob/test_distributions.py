"""The normal distribution and the KL divergence against SciPy and sampling, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vae_jax.precision import with_products
from vae_jax.prob.distributions import FullNormal, Mixture, Normal, Transformed, kl, standard_normal

RNG = np.random.default_rng(0)
KL = jax.jit(kl)


@pytest.fixture
def pair():
    return tuple(Normal(RNG.normal(size=shape), RNG.uniform(0.3, 2.0, size=shape)) for shape in ((3, 4), (4,)))


@pytest.fixture
def full():
    factor = np.tril(RNG.normal(size=(3, 4, 4)), -1) + RNG.uniform(0.4, 1.5, (3, 4, 1)) * np.eye(4)
    return FullNormal(RNG.normal(size=(3, 4)), factor)


def draw(q, count):
    return jax.jit(lambda q: q.draw(jax.random.split(jax.random.key(0), 3), count))(q)


def test_log_prob_is_scipys(pair):
    with jax.enable_x64(True):
        z = RNG.normal(size=(5, 3, 4))
        expected = scipy.stats.norm(*pair[0]).logpdf(z).sum(-1)
        np.testing.assert_allclose(jax.jit(Normal.log_prob)(pair[0], z), expected, rtol=1e-12)


def test_kl_is_the_mean_log_ratio_of_samples(pair):
    with jax.enable_x64(True):
        q, p = pair
        z = q.at(RNG.normal(size=(200_000, 3, 4)))
        ratio = np.asarray(jax.jit(lambda z: q.log_prob(z) - p.log_prob(z))(z))
        error = ratio.std(axis=0) / len(ratio) ** 0.5
        assert np.all(np.abs(KL(q, p) - ratio.mean(axis=0)) < 5 * error)


def test_kl_to_itself_is_zero_and_else_positive(pair):
    q, p = pair
    np.testing.assert_allclose(KL(q, q), 0, atol=1e-6)
    assert np.all(KL(q, p) > 0)


def test_kl_to_standard_normal_is_the_formula_of_the_paper(pair):
    mu, sigma = pair[0]
    expected = -0.5 * (1 + np.log(sigma**2) - mu**2 - sigma**2).sum(-1)
    np.testing.assert_allclose(KL(pair[0], standard_normal(4)), expected, rtol=1e-5)


def test_reparameterized_samples_have_the_moments(pair):
    z = np.asarray(jax.jit(Normal.at)(pair[0], RNG.normal(size=(100_000, 3, 4))))
    np.testing.assert_allclose(z.mean(0), pair[0].loc, atol=0.03)
    np.testing.assert_allclose(z.std(0), pair[0].scale, rtol=0.02)


def test_full_normal_is_scipys_multivariate_normal(full):
    with jax.enable_x64(True):
        z, log_q = draw(full, 6)
        for i in range(3):
            covariance = full.factor[i] @ full.factor[i].T
            expected = scipy.stats.multivariate_normal(full.loc[i], covariance).logpdf(np.asarray(z)[:, i])
            np.testing.assert_allclose(np.asarray(log_q)[:, i], expected, rtol=1e-10)


def test_full_normal_draws_have_its_covariance_and_its_kl_is_the_mean_log_ratio(full, pair):
    with jax.enable_x64(True):
        z, log_q = draw(full, 100_000)
        np.testing.assert_allclose(np.cov(np.asarray(z)[:, 1].T), full.factor[1] @ full.factor[1].T, atol=0.1)
        ratio = np.asarray(log_q - jax.jit(Normal.log_prob)(pair[1], z))
        expected = jax.jit(FullNormal.kl_to)(full, pair[1])
        assert np.all(np.abs(expected - ratio.mean(0)) < 5 * ratio.std(0) / len(ratio) ** 0.5)


def test_full_normal_without_covariances_is_the_diagonal_one(pair):
    q, p = pair
    full = FullNormal(q.loc, q.scale[..., None] * np.eye(4))
    np.testing.assert_allclose(jax.jit(FullNormal.kl_to)(full, p), KL(q, p), rtol=1e-5)


def test_mixture_is_the_log_of_the_weighted_sum_of_its_parts():
    with jax.enable_x64(True):
        loc, scale, z = RNG.normal(size=(6, 3)), RNG.uniform(0.2, 2, (6, 3)), RNG.normal(size=(2, 4, 3))
        weights = RNG.dirichlet(np.ones(6))
        found = jax.jit(Mixture.log_prob)(Mixture(np.log(weights) + 2.5, Normal(loc, scale)), z)
        parts = scipy.stats.norm(loc, scale).pdf(z[:, :, None]).prod(-1)
        np.testing.assert_allclose(found, np.log(parts @ weights), rtol=1e-10)


def test_a_mixture_of_narrow_parts_keeps_its_density_in_short_products():
    loc, scale = np.float32([[3.0], [0.0]]), np.float32([[0.1], [0.1]])
    mixture, z = Mixture(np.float32([0.0, -1e9]), Normal(loc, scale)), np.float32([[3.05]])
    found = jax.jit(with_products("bf16", mixture.log_prob))(z)
    np.testing.assert_allclose(found, scipy.stats.norm(3.0, 0.1).logpdf([3.05]), atol=1e-3)


def test_mixture_draws_follow_weights_and_temperature():
    parts = Normal(np.array([[-4.0], [4.0]]), np.array([[0.5], [0.1]]))
    sample = jax.jit(Mixture.sample, static_argnums=2)
    warm, cold = (
        np.asarray(sample(Mixture(np.log([0.25, 0.75]), parts), jax.random.key(0), 20000, temperature))[:, 0]
        for temperature in (1.0, 0.0)
    )
    assert (warm > 0).mean() == pytest.approx(0.75, abs=0.02)
    assert warm[warm < 0].std() == pytest.approx(0.5, rel=0.05)
    np.testing.assert_array_equal(cold, 4.0)


def test_a_transformed_normal_has_the_density_of_the_change_of_variables():
    """exp maps a normal to a log-normal."""
    log_normal = Transformed(2, lambda e: (jnp.exp(e), e.sum(-1)), lambda z: (jnp.log(z), -jnp.log(z).sum(-1)))
    z = jax.jit(lambda key: log_normal.sample(key, 5, 1.0))(jax.random.key(0))
    expected = scipy.stats.lognorm(1).logpdf(z).sum(-1)
    np.testing.assert_allclose(jax.jit(log_normal.log_prob)(z), expected, rtol=1e-4)
