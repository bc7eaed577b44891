"""The ELBO's weights: beta multiplies the KL divergence only, and warms up linearly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.objectives.elbo import elbo
from vae_jax.prob.distributions import Normal, kl, standard_normal
from vae_jax.types import Draws


@pytest.fixture
def draws():
    q = Normal(jnp.array([[0.3, -1.0], [2.0, 0.1]]), jnp.array([[0.5, 1.5], [1.0, 0.2]]))
    log_px = jnp.array([[-3.0, -5.0], [-4.0, -9.0], [-8.0, -1.0]])
    unused = jnp.zeros((3, 2))
    return Draws(
        jnp.zeros((2, 1, 1, 1)), q, standard_normal(2), jnp.zeros((3, 2, 2)), log_px, unused, unused, jax.random.key(0)
    )


def hypers(beta=1.0, warmup=0.0):
    return {"beta": jnp.float32(beta), "kl_warmup_steps": jnp.float32(warmup)}


def test_plain_bound_is_mean_distortion_plus_rate(draws):
    loss, terms = elbo(draws, hypers(), 0)
    np.testing.assert_allclose(loss, np.array([5.0, 5.0]) + kl(draws.q, draws.prior), rtol=1e-6)
    np.testing.assert_array_equal(loss, terms["neg_elbo_nats"])


@pytest.mark.parametrize(
    "beta, warmup, step, weight",
    [(4, 0, 0, 4), (0, 0, 7, 0), (1, 10, 0, 0.1), (1, 10, 4, 0.5), (2, 10, 9, 2), (2, 10, 99, 2), (2, 10, np.inf, 2)],
)
def test_weight_of_the_rate(draws, beta, warmup, step, weight):
    loss, terms = elbo(draws, hypers(beta, warmup), step)
    np.testing.assert_allclose(loss, terms["distortion_nats"] + weight * terms["rate_nats"], rtol=1e-6)
    np.testing.assert_allclose(terms["neg_elbo_nats"], terms["distortion_nats"] + terms["rate_nats"], rtol=1e-6)
