"""The Bernoulli log-likelihood of a picture and its slopes, at any logit, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.prob.likelihoods.bernoulli import bernoulli

LOG_PROB = bernoulli().log_prob


def log_prob(x, logits):
    return LOG_PROB(logits[..., None], {}, x)


@pytest.mark.parametrize("shape", [(28, 28, 1), (3, 3, 1), (1, 1, 1), (5, 4, 3)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_value_and_slopes_in_float64(shape, scale):
    random = np.random.default_rng(0)
    logits, x = scale * random.normal(size=(3, 2, *shape)), random.integers(0, 2, (2, *shape)).astype(float)
    given = jnp.asarray(x, jnp.float32), jnp.asarray(logits, jnp.float32)
    exact = (x * logits - np.logaddexp(0, logits)).sum((-3, -2, -1))
    np.testing.assert_allclose(log_prob(*given), exact, rtol=1e-5, atol=1e-5)
    of_x, of_logits = jax.grad(lambda x, logits: log_prob(x, logits).sum(), argnums=(0, 1))(*given)
    np.testing.assert_allclose(of_logits, x - 1 / (1 + np.exp(-logits)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_x, logits.sum(0), rtol=1e-5, atol=1e-5)


def test_finite_at_any_logit_and_curved():
    extreme = jnp.array([-1e38, -200.0, 0.0, 200.0, 1e38])[:, None, None, None]
    np.testing.assert_allclose(-log_prob(jnp.zeros(1), extreme), [0, 0, np.log(2), 200, 1e38], rtol=1e-6)
    assert jnp.isfinite(jax.grad(lambda logits: log_prob(jnp.ones(1), logits).sum())(extreme)).all()
    points = np.array([-1.0, 0.0, 2.0])
    curve = jax.vmap(jax.hessian(lambda v: log_prob(jnp.ones(1), v.reshape(1, 1, 1))))(jnp.asarray(points, jnp.float32))
    s = 1 / (1 + np.exp(-points))
    np.testing.assert_allclose(curve, -s * (1 - s), rtol=1e-5)
