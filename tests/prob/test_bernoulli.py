"""The Bernoulli log-likelihood of a picture and its slopes, at any logit, in float64."""

import jax
import numpy as np
import pytest

from vae_jax.prob.likelihoods.bernoulli import bernoulli

RNG = np.random.default_rng(0)


def log_prob(x, logits):
    return bernoulli().log_prob(logits[..., None], {}, x)


@jax.jit
def value_and_slopes(x, logits):
    """The slopes of the sum, in x and in the logits."""
    return log_prob(x, logits), *jax.grad(lambda *given: log_prob(*given).sum(), argnums=(0, 1))(x, logits)


@pytest.mark.parametrize("shape", [(28, 28, 1), pytest.param((3, 3, 1), marks=pytest.mark.long), (1, 1, 1), (5, 4, 3)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_value_and_slopes_in_float64(shape, scale):
    logits, x = scale * RNG.normal(size=(3, 2, *shape)), RNG.integers(0, 2, (2, *shape)).astype(float)
    value, of_x, of_logits = value_and_slopes(np.float32(x), np.float32(logits))
    np.testing.assert_allclose(value, (x * logits - np.logaddexp(0, logits)).sum((-3, -2, -1)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_logits, x - 1 / (1 + np.exp(-logits)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_x, logits.sum(0), rtol=1e-5, atol=1e-5)


def test_finite_at_any_logit_and_curved():
    extreme = np.float32([-1e38, -200.0, 0.0, 200.0, 1e38]).reshape(5, 1, 1, 1)
    white, black = np.float32([1]), np.float32([0])
    np.testing.assert_allclose(-value_and_slopes(black, extreme)[0], [0, 0, np.log(2), 200, 1e38], rtol=1e-6)
    assert np.isfinite(value_and_slopes(white, extreme)[2]).all()
    points = np.array([-1.0, 0.0, 2.0])
    curve = jax.jit(jax.vmap(jax.hessian(lambda v: log_prob(white, v.reshape(1, 1, 1)))))(np.float32(points))
    s = 1 / (1 + np.exp(-points))
    np.testing.assert_allclose(curve, -s * (1 - s), rtol=1e-5)
