"""Importance-weighted bounds on a model with a known likelihood: z ~ N(0,1), x|z ~ N(z,1), q off the posterior."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vae_jax.errors import ConfigError
from vae_jax.objectives import importance
from vae_jax.prob.distributions import Normal, standard_normal
from vae_jax.types import Draws

X = np.float32([1.0, -0.5, 2.0])
EXACT = scipy.stats.norm(0, np.sqrt(2)).logpdf(X)  # log p(x)
PARAMETERS = {"loc": np.float32([0.2, 0.1, 0.6]), "log_scale": np.float32([0.1, -0.2, 0.3]), "slope": np.float32(1)}
POSTERIOR = {"loc": X / 2, "log_scale": np.full(3, 0.5 * np.log(0.5), np.float32), "slope": np.float32(1)}
HYPERS = {"alpha": np.float32(0), "elbo_share": np.float32(0.3)}


def noise(k, *draws):
    """The same whenever it is asked for."""
    return np.float32(np.random.default_rng(0).normal(size=(*draws, k, 3, 1)))


@jax.jit
def draws_of(parameters, noise):
    """The slope is the decoder's: x|z ~ N(slope z, 1)."""
    q = Normal(parameters["loc"][:, None], jnp.exp(parameters["log_scale"])[:, None])
    prior, x, z = standard_normal(1), jnp.asarray(X), q.at(noise)
    log_px = Normal((parameters["slope"] * z[..., 0])[..., None], jnp.ones(1)).log_prob(x[:, None])
    return Draws(x, q, prior, z, log_px, prior.log_prob(z), q.log_prob(z), q.kl_to(prior), 3, None)


@functools.partial(jax.jit, static_argnames=("name", "num_groups"))
def loss_of(name, parameters, noise, hypers=HYPERS, **fields):
    return getattr(importance, name)(draws_of(parameters, noise), hypers, 0, **fields)


def value(name, k, parameters=PARAMETERS, hypers=HYPERS, **fields):
    return np.asarray(loss_of(name, parameters, noise(k), hypers, **fields).per_example)


def mean(name, k, **fields):
    one = jax.vmap(lambda noise: loss_of(name, PARAMETERS, noise, **fields).per_example)
    return np.mean(jax.jit(one)(noise(k, 3000)), 0)


def mean_log_weight(k):
    return np.mean(jax.jit(lambda noise: draws_of(PARAMETERS, noise).log_weights)(noise(k)), 0)


def test_bounds_rise_with_the_draws_and_stay_below_the_likelihood():
    mean_log_px = scipy.stats.norm(PARAMETERS["loc"], 1).logpdf(X) - np.exp(2 * PARAMETERS["log_scale"]) / 2  # exact
    elbo = draws_of(PARAMETERS, noise(1)).kl - mean_log_px
    bounds = [-mean("iwae", k) for k in (1, 5, 50)]
    np.testing.assert_allclose(bounds[0], -elbo, atol=0.08)
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2]).all()
    assert (bounds[2] < EXACT + 0.005).all()
    np.testing.assert_allclose(bounds[2], EXACT, atol=0.05)


@pytest.mark.parametrize("name", ["iwae", "stl", "dreg", "renyi", "ciwae"])
def test_every_weight_is_the_likelihood_where_q_is_the_posterior(name):
    found = value(name, 4, POSTERIOR, HYPERS | {"elbo_share": np.float32(0)})
    np.testing.assert_allclose(found, -EXACT, rtol=1e-5)


def test_miwae_lies_between_the_elbo_and_iwae_and_contains_both():
    np.testing.assert_allclose(value("miwae", 12, num_groups=1), value("iwae", 12), rtol=1e-6)
    np.testing.assert_allclose(value("miwae", 12, num_groups=12), -mean_log_weight(12), rtol=1e-6)
    assert (mean("miwae", 12, num_groups=3) > mean("iwae", 12)).all()


def test_ciwae_mixes_two_bounds():
    elbo = loss_of("iwae", PARAMETERS, noise(6)).terms["neg_elbo_nats"]
    expected = 0.3 * np.asarray(elbo) + 0.7 * value("iwae", 6)
    np.testing.assert_allclose(value("ciwae", 6), expected, rtol=1e-6)


def test_renyi_falls_from_iwae_to_the_elbo_as_alpha_rises():
    at = {a: value("renyi", 8, hypers={"alpha": np.float32(a)}) for a in (-1.0, 0.0, 0.5, 0.99, 1.0)}
    np.testing.assert_allclose(at[0.0], value("iwae", 8), rtol=1e-6)
    np.testing.assert_allclose(at[1.0], -mean_log_weight(8), rtol=1e-6)
    np.testing.assert_allclose(at[0.99], at[1.0], atol=0.02)
    assert (at[-1.0] < at[0.0]).all()
    assert (at[0.0] < at[0.5]).all()
    assert (at[0.5] < at[1.0]).all()


@functools.cache
def gradients(name, k, draws, **fields):
    """The gradient of the training scalar in each draw of the noise: as the model puts `inference` in."""

    def scalar(parameters, noise):
        found = loss_of(name, parameters, noise, **fields)
        if found.inference is None:
            return found.per_example.mean()
        held = jax.lax.stop_gradient(parameters)  # the decoder's from one, the encoder's from the other
        generative = loss_of(name, held | {"slope": parameters["slope"]}, noise, **fields)
        inference = loss_of(name, parameters | {"slope": held["slope"]}, noise, **fields)
        return generative.per_example.mean() + inference.inference.mean()

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(jax.grad(scalar), (None, 0)))(PARAMETERS, noise(k, draws)))


@pytest.mark.parametrize("name, like", [("dreg", "iwae"), ("stl", "iwae")])
def test_path_gradients_agree_in_the_mean_and_have_less_noise(name, like):
    k = 8 if name == "dreg" else 1
    ours, theirs = (gradients(n, k, 40000) for n in (name, like))
    for leaf, a, b in ((n, ours[n], theirs[n]) for n in ours):
        error = 5 * np.sqrt((a.var(0) + b.var(0)) / len(a))
        assert (np.abs(a.mean(0) - b.mean(0)) < error).all(), leaf
    assert np.sum(np.var(ours["loc"], 0)) < np.sum(np.var(theirs["loc"], 0))


def test_the_path_gradient_vanishes_where_q_is_the_posterior():
    """Roeder et al. (2017), section 3.1: draw by draw, and not in the mean alone."""

    def slope(name):
        return jax.jit(jax.grad(lambda p: loss_of(name, p, noise(1)).per_example.mean()))(POSTERIOR)["loc"]

    np.testing.assert_allclose(slope("stl"), 0, atol=1e-6)
    assert np.abs(slope("iwae")).max() > 0.01


def test_piwae_gives_the_encoder_the_gradient_of_miwae_and_the_decoder_that_of_iwae():
    mixed = gradients("piwae", 12, 3, num_groups=4)
    np.testing.assert_allclose(mixed["loc"], gradients("miwae", 12, 3, num_groups=4)["loc"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mixed["slope"], gradients("iwae", 12, 3)["slope"], rtol=1e-4, atol=1e-6)
    assert np.abs(mixed["loc"] - gradients("iwae", 12, 3)["loc"]).max() > 1e-3


def test_the_gradient_of_iwae_weighs_each_draw_by_its_share():
    """d/dtheta of -log mean w is -sum_k softmax(log w)_k dlog w_k, the shares held (Burda et al. 2016, equation 13)."""

    def by_hand(parameters):
        log_weights = draws_of(parameters, noise(7)).log_weights
        return -(jax.lax.stop_gradient(jax.nn.softmax(log_weights, 0)) * log_weights).sum(0).mean()

    def ours(parameters):
        return loss_of("iwae", parameters, noise(7)).per_example.mean()

    found, expected = jax.jit(lambda p: (jax.grad(ours)(p), jax.grad(by_hand)(p)))(PARAMETERS)
    for name, leaf in expected.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-6)


def test_groups_that_do_not_divide_the_draws_are_refused():
    with pytest.raises(ConfigError, match=r"num_samples=7 does not divide into model\.objective\.num_groups=4"):
        value("miwae", 7, num_groups=4)


def test_flows_have_no_density_to_hold():
    draws = draws_of(PARAMETERS, noise(2))._replace(q=object())
    with pytest.raises(ConfigError, match="take diagonal"):
        importance.stl(draws, HYPERS, 0)
