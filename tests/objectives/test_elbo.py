"""The ELBO's weights: beta multiplies the KL divergence only, and warms up linearly."""

import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.errors import ConfigError
from vae_jax.objectives.elbo import capacity, cyclical, elbo, free_bits, joint_capacity
from vae_jax.prob.distributions import Normal, kl, standard_normal
from vae_jax.prob.one_hot import Joint, OneHot, uniform
from vae_jax.types import Draws


@pytest.fixture
def draws():
    q = Normal(jnp.array([[0.3, -1.0], [2.0, 0.1]]), jnp.array([[0.5, 1.5], [1.0, 0.2]]))
    log_px = jnp.array([[-3.0, -5.0], [-4.0, -9.0], [-8.0, -1.0]])
    unused = jnp.zeros((3, 2))
    return Draws(None, q, standard_normal(2), None, log_px, unused, unused, q.kl_to(standard_normal(2)), 2, None)


def hypers(beta=1.0, warmup=0.0):
    return {"beta": jnp.float32(beta), "kl_warmup_steps": jnp.float32(warmup)}


def test_plain_bound_is_mean_distortion_plus_rate(draws):
    loss, terms, *_ = elbo(draws, hypers(), 0)
    np.testing.assert_allclose(loss, np.array([5.0, 5.0]) + kl(draws.q, draws.prior), rtol=1e-6)
    np.testing.assert_array_equal(loss, terms["neg_elbo_nats"])


@pytest.mark.parametrize(
    "beta, warmup, step, weight",
    [(4, 0, 0, 4), (0, 0, 7, 0), (1, 10, 0, 0.1), (1, 10, 4, 0.5), (2, 10, 9, 2), (2, 10, 99, 2), (2, 10, np.inf, 2)],
)
def test_weight_of_the_rate(draws, beta, warmup, step, weight):
    loss, terms, *_ = elbo(draws, hypers(beta, warmup), step)
    np.testing.assert_allclose(loss, terms["distortion_nats"] + weight * terms["rate_nats"], rtol=1e-6)
    np.testing.assert_allclose(terms["neg_elbo_nats"], terms["distortion_nats"] + terms["rate_nats"], rtol=1e-6)


@pytest.mark.parametrize("step, weight", [(0, 0), (5, 1), (10, 2), (19, 2), (20, 0), (25, 1), (np.inf, 2)])
def test_cyclical_weight_rises_in_the_first_half_of_each_cycle(draws, step, weight):
    loss, terms, *_ = cyclical(draws, {"beta": 2.0, "kl_cycle_steps": 20.0}, step)
    np.testing.assert_allclose(loss, terms["distortion_nats"] + weight * terms["rate_nats"], rtol=1e-6)


@pytest.mark.parametrize("step, allowed", [(0, 0), (5, 2), (10, 4), (99, 4), (np.inf, 4)])
def test_capacity_holds_the_rate_at_what_is_allowed(draws, step, allowed):
    loss, terms, *_ = capacity(draws, {"beta": 3.0, "capacity": 4.0, "capacity_steps": 10.0}, step)
    np.testing.assert_allclose(loss, terms["distortion_nats"] + 3 * np.abs(terms["rate_nats"] - allowed), rtol=1e-6)


def test_free_bits_cost_nothing_up_to_their_number(draws):
    rate = np.asarray(draws.kl)
    between = float(rate.mean())
    loss, terms, *_ = free_bits(draws, {"free_bits": between}, 0)
    np.testing.assert_allclose(loss - terms["distortion_nats"], np.maximum(rate, between), rtol=1e-5)
    assert (rate < between).any()
    assert (rate > between).any()


def test_the_parts_of_a_joint_code_have_a_capacity_each(draws):
    q = Joint(draws.q, OneHot(jnp.array([[[2.0, 0.0, -1.0]], [[0.3, 0.2, 0.1]]])))
    prior = Joint(standard_normal(2), uniform(1, 3))
    whole = draws._replace(q=q, prior=prior, kl=q.kl_to(prior))
    hypers = {"beta": 5.0, "capacity": 1.0, "discrete_capacity": 0.4, "capacity_steps": 10.0}
    loss, terms, *_ = joint_capacity(whole, hypers, 5)
    normal, one_hot = q.kl_parts(prior)
    away = np.abs(normal - 0.5) + np.abs(one_hot - 0.2)
    np.testing.assert_allclose(loss, terms["distortion_nats"] + 5 * away, rtol=1e-6)
    np.testing.assert_allclose(terms["rate_nats"], normal + one_hot, rtol=1e-6)


def test_joint_capacity_needs_both_kinds_of_latents(draws):
    with pytest.raises(ConfigError, match=r"two kinds of latents: set model\.posterior\.name and prior\.name to joint"):
        joint_capacity(draws, {"capacity_steps": 10.0}, 0)
