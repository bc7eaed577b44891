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

B, D = 50, 3


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def draws():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(D, D))
    q = Normal(jnp.array(rng.normal(size=(B, D)) @ mix), jnp.array(rng.uniform(0.3, 1.0, (B, D))))
    z, log_qz = q.draw(jax.random.split(jax.random.key(0), B), 1)
    prior, log_px = standard_normal(D), jnp.array(rng.normal(size=(1, B)) - 5)
    return Draws(None, q, prior, z, log_px, prior.log_prob(z), log_qz, q.kl_to(prior), 1000, jax.random.key(1))


HYPERS = {"beta": 4.0, "dip_off_diagonal": 3.0, "dip_diagonal": 7.0, "prior_weight": 11.0}


def test_dip_needs_the_mean_of_the_posterior(draws):
    flowed = Flowed(draws.q, lambda z: (2 * z, jnp.zeros(z.shape[:-1])))
    for other in flowed, VonMisesFisher(draws.q.loc, jnp.ones(B)):
        with pytest.raises(ConfigError, match="diagonal or full_covariance"):
            dip_i(draws._replace(q=other), HYPERS, 0)


def test_beta_multiplies_the_total_correlation_alone(draws):
    found = beta_tcvae(draws, HYPERS, 0, estimator="stratified")
    joint, each = log_aggregate(draws.q, draws.z[0], 1000, "stratified")
    assert float(found.penalties["tc"]) == pytest.approx(3 * float((joint - each.sum(-1)).mean()))
    np.testing.assert_array_equal(found.per_example, draws.terms["neg_elbo_nats"])
    assert float(beta_tcvae(draws, HYPERS | {"beta": 1.0}, 0).penalties["tc"]) == 0


def test_estimators_of_the_total_correlation_differ_by_more_than_a_constant_only_if_stratified(draws):
    def slope(estimator):
        def penalty(loc):
            q = Normal(loc, draws.q.scale)
            return beta_tcvae(draws._replace(q=q), HYPERS, 0, estimator=estimator).penalties["tc"]

        return jax.grad(penalty)(draws.q.loc)

    np.testing.assert_allclose(slope("weighted"), slope("exact"), rtol=1e-8)
    assert np.abs(slope("stratified") - slope("exact")).max() > 1e-4


def test_dip_i_is_the_distance_of_the_covariance_of_the_means_from_identity(draws):
    away = np.cov(np.asarray(draws.q.loc).T, bias=True) - np.eye(D)
    squares = away**2
    expected = 3 * (squares.sum() - np.trace(squares)) + 7 * np.trace(squares)
    assert float(dip_i(draws, HYPERS, 0).penalties["dip"]) == pytest.approx(expected)


def test_dip_ii_adds_the_mean_variance_of_the_posteriors(draws):
    q = draws.q
    away = np.cov(np.asarray(q.loc).T, bias=True) + np.diag(np.mean(np.square(q.scale), 0)) - np.eye(D)
    squares = away**2
    expected = 3 * (squares.sum() - np.trace(squares)) + 7 * np.trace(squares)
    assert float(dip_ii(draws, HYPERS, 0).penalties["dip"]) == pytest.approx(expected)


def test_info_vae_weighs_the_kl_and_the_distance_of_all_codes_to_the_prior(draws):
    found = info_vae(draws, HYPERS, 0, kernel="rbf")
    prior = draws.prior.sample(draws.key, B, 1.0)
    assert float(found.penalties["mmd"]) == pytest.approx(11 * float(mmd(draws.z[0], prior, "rbf")))
    np.testing.assert_allclose(found.per_example, -draws.log_px[0] + 4 * draws.kl)


@pytest.mark.parametrize("objective", [beta_tcvae, dip_ii])
def test_posteriors_without_a_density_for_each_latent_are_refused(draws, objective):
    q = FullNormal(draws.q.loc, jax.vmap(jnp.diag)(draws.q.scale))
    with pytest.raises(ConfigError, match=r"posterior\.name=diagonal"):
        objective(draws._replace(q=q), HYPERS, 0)
