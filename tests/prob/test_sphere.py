"""Von Mises-Fisher against SciPy's density and Bessel functions, and its draws against its own mean."""

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vae_jax.prob.sphere import UniformSphere, VonMisesFisher

SIZES = [2, 3, pytest.param(10, marks=pytest.mark.long), 40]
CONCENTRATIONS = np.array([1.0, 5.0, 60.0, 800.0])


def unit(size, count=4, seed=0):
    values = np.random.default_rng(seed).normal(size=(count, size))
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def distribution(size):
    return VonMisesFisher(np.float32(unit(size)), np.float32(CONCENTRATIONS))


def mean_cosine(size):
    """A_D(kappa), the ratio of two Bessel functions, in float64."""
    order = size / 2
    return scipy.special.ive(order, CONCENTRATIONS) / scipy.special.ive(order - 1, CONCENTRATIONS)


@pytest.mark.parametrize("size", SIZES)
def test_log_density_is_that_of_scipy_and_kl_to_the_uniform_sphere_has_its_closed_form(size):
    z, order, kappa = unit(size, seed=1), size / 2, CONCENTRATIONS
    found, kl = jax.jit(lambda q, z: (q.log_prob(z), q.kl_to(UniformSphere(size))))(distribution(size), np.float32(z))
    parts = [scipy.stats.vonmises_fisher(*pair) for pair in zip(unit(size), kappa, strict=True)]
    expected = [part.logpdf(x).item() for part, x in zip(parts, z, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=3e-3)
    log_constant = (order - 1) * np.log(kappa) - order * np.log(2 * np.pi)
    log_constant -= np.log(scipy.special.ive(order - 1, kappa)) + kappa
    log_area = np.log(2) + order * np.log(np.pi) - scipy.special.gammaln(order)
    np.testing.assert_allclose(kl, kappa * mean_cosine(size) + log_constant + log_area, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("size", SIZES)
def test_draws_are_unit_vectors_whose_mean_is_that_of_the_distribution(size):
    @jax.jit
    def drawn(q, keys):
        z, log_q = q.draw(keys, 20000)
        uniform = UniformSphere(size)
        return z, log_q, q.log_prob(z[:5]), log_q - uniform.log_prob(z), q.kl_to(uniform)

    q = distribution(size)
    z, log_q, log_prob, excess, expected = map(np.asarray, drawn(q, jax.random.split(jax.random.key(0), 4)))
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, atol=1e-4)
    np.testing.assert_allclose(log_q[:5], log_prob, rtol=1e-5, atol=1e-4)
    cosine = (z * q.direction).sum(-1, dtype=np.float64)
    error = 4 * cosine.std(0) / np.sqrt(len(cosine)) + 1e-4
    assert (np.abs(cosine.mean(0) - mean_cosine(size)) < error).all()
    # E[log q - log uniform] over draws is the KL divergence.
    excess = excess.astype(np.float64)
    assert (np.abs(excess.mean(0) - expected) < 4 * excess.std(0) / np.sqrt(len(excess)) + 5e-3).all()


def test_draws_carry_the_gradient_of_their_mean_in_the_concentration():
    size, kappa = 5, np.array([1.5, 4.0, 30.0])
    keys = jax.random.split(jax.random.key(1), len(kappa))
    direction = np.float32(unit(size, len(kappa)))

    def cosine(kappa):
        z, _ = VonMisesFisher(direction, kappa).draw(keys, 20000)
        return (z * direction).sum(-1).mean(0).sum()

    ratio = scipy.special.ive(size / 2, kappa) / scipy.special.ive(size / 2 - 1, kappa)
    expected = 1 - ratio**2 - (size - 1) / kappa * ratio  # A'
    np.testing.assert_allclose(jax.jit(jax.grad(cosine))(np.float32(kappa)), expected, rtol=0.04)


def test_the_uniform_prior_is_centred_and_has_the_density_of_its_area():
    sphere = UniformSphere(3)
    z = np.asarray(jax.jit(lambda key: sphere.sample(key, 20000, 1.0))(jax.random.key(0)))
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(z.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(sphere.log_prob(z[:2]), -np.log(4 * np.pi), rtol=1e-6)
