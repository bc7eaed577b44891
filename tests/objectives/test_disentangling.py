"""Penalties on the aggregate posterior against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.errors import ConfigError
from vae_jax.objectives.disentangling import beta_tcvae, dip_i, dip_ii, info_vae
from vae_jax.prob.aggregate import log_aggregate
from vae_jax.prob.discrepancies import mmd
from vae_jax.prob.distributions import Flowed, FullNormal, Normal, standard_normal
from vae_jax.prob.sphere import VonMisesFisher
from vae_jax.types import Draws

B, D, RNG = 50, 3, np.random.default_rng(0)
HYPERS = {"beta": 4.0, "dip_off_diagonal": 3.0, "dip_diagonal": 7.0, "prior_weight": 11.0}


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@jax.jit
def drawn(q, noise, log_px):
    prior, z = standard_normal(D), q.at(noise)
    return Draws(None, q, prior, z, log_px, prior.log_prob(z), q.log_prob(z), q.kl_to(prior), None, None)


@pytest.fixture
def draws():
    q = Normal(RNG.normal(size=(B, D)) @ RNG.normal(size=(D, D)), RNG.uniform(0.3, 1.0, (B, D)))
    made = drawn(q, RNG.normal(size=(1, B, D)), RNG.normal(size=(1, B)) - 5)
    return made._replace(num_examples=1000, key=jax.random.key(1))


def loss_of(objective, draws, hypers=HYPERS, **fields):
    return jax.jit(lambda q: objective(draws._replace(q=q), hypers, 0, **fields))(draws.q)


def test_dip_needs_the_mean_of_the_posterior(draws):
    flowed = Flowed(draws.q, lambda z: (2 * z, jnp.zeros(z.shape[:-1])))
    for other in flowed, VonMisesFisher(draws.q.loc, jnp.ones(B)):
        with pytest.raises(ConfigError, match="diagonal or full_covariance"):
            dip_i(draws._replace(q=other), HYPERS, 0)


def test_beta_multiplies_the_total_correlation_alone(draws):
    found = loss_of(beta_tcvae, draws, estimator="stratified")
    joint, each = jax.jit(lambda: log_aggregate(draws.q, draws.z[0], 1000, "stratified"))()
    assert float(found.penalties["tc"]) == pytest.approx(3 * np.mean(joint - np.sum(each, -1)))
    np.testing.assert_array_equal(found.per_example, draws.terms["neg_elbo_nats"])
    assert float(loss_of(beta_tcvae, draws, HYPERS | {"beta": 1.0}).penalties["tc"]) == 0


def test_estimators_of_the_total_correlation_differ_by_more_than_a_constant_only_if_stratified(draws):
    def slope(estimator):
        def penalty(loc):
            q = Normal(loc, draws.q.scale)
            return beta_tcvae(draws._replace(q=q), HYPERS, 0, estimator=estimator).penalties["tc"]

        return np.asarray(jax.jit(jax.grad(penalty))(draws.q.loc))

    np.testing.assert_allclose(slope("weighted"), slope("exact"), rtol=1e-8)
    assert np.abs(slope("stratified") - slope("exact")).max() > 1e-4


@pytest.mark.parametrize("objective, of_codes", [(dip_i, 0), (dip_ii, 1)])
def test_dip_is_the_distance_from_identity_of_the_covariance_of_the_means_or_of_the_codes(draws, objective, of_codes):
    covariance = np.cov(np.transpose(draws.q.loc), bias=True)
    covariance += of_codes * np.diag(np.mean(np.square(draws.q.scale), 0))
    squares = (covariance - np.eye(D)) ** 2
    expected = 3 * (squares.sum() - np.trace(squares)) + 7 * np.trace(squares)
    assert float(loss_of(objective, draws).penalties["dip"]) == pytest.approx(expected)


def test_info_vae_weighs_the_kl_and_the_distance_of_all_codes_to_the_prior(draws):
    found = loss_of(info_vae, draws, kernel="rbf")
    expected = jax.jit(lambda key: 11 * mmd(draws.z[0], draws.prior.sample(key, B, 1.0), "rbf"))(draws.key)
    assert float(found.penalties["mmd"]) == pytest.approx(float(expected))
    np.testing.assert_allclose(found.per_example, 4 * np.asarray(draws.kl) - draws.log_px[0])


@pytest.mark.parametrize("objective", [beta_tcvae, dip_ii])
def test_posteriors_without_a_density_for_each_latent_are_refused(draws, objective):
    q = FullNormal(draws.q.loc, jax.vmap(jnp.diag)(draws.q.scale))
    with pytest.raises(ConfigError, match=r"posterior\.name=diagonal"):
        objective(draws._replace(q=q), HYPERS, 0)
