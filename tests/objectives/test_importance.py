"""Importance-weighted bounds on a model with a known likelihood: z ~ N(0,1), x|z ~ N(z,1), q off the posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vae_jax.errors import ConfigError
from vae_jax.objectives import importance
from vae_jax.prob.distributions import Normal, standard_normal
from vae_jax.types import Draws

X = np.array([1.0, -0.5, 2.0])
EXACT = scipy.stats.norm(0, np.sqrt(2)).logpdf(X)  # log p(x)
PARAMETERS = {"loc": jnp.array([0.2, 0.1, 0.6]), "log_scale": jnp.array([0.1, -0.2, 0.3]), "slope": jnp.float32(1.0)}


def draws_of(parameters, k, seed=0, exact=False):
    """The slope is the decoder's: x|z ~ N(slope z, 1)."""
    q = Normal(parameters["loc"][:, None], jnp.exp(parameters["log_scale"])[:, None])
    if exact:
        q = Normal(jnp.asarray(X, jnp.float32)[:, None] / 2, jnp.full((3, 1), 0.5**0.5))
    prior, x = standard_normal(1), jnp.asarray(X, jnp.float32)
    z, log_qz = q.draw(jax.random.split(jax.random.key(seed), 3), k)
    log_px = Normal((parameters["slope"] * z[..., 0])[..., None], jnp.ones(1)).log_prob(x[:, None])
    return Draws(x, q, prior, z, log_px, prior.log_prob(z), log_qz, q.kl_to(prior), 3, jax.random.key(seed))


HYPERS = {"alpha": jnp.float32(0), "elbo_share": jnp.float32(0.3)}


def value(name, k, seed=0, hypers=HYPERS, exact=False, **fields):
    found = getattr(importance, name)(draws_of(PARAMETERS, k, seed, exact), hypers, 0, **fields)
    return np.asarray(found.per_example)


def mean(name, k, draws=3000, **fields):
    return np.mean(
        jax.vmap(
            lambda seed: getattr(importance, name)(draws_of(PARAMETERS, k, seed), HYPERS, 0, **fields).per_example
        )(jnp.arange(draws)),
        0,
    )


def test_bounds_rise_with_the_draws_and_stay_below_the_likelihood():
    elbo = np.asarray(draws_of(PARAMETERS, 1).terms["rate_nats"]) - mean_log_px()
    bounds = [-mean("iwae", k) for k in (1, 5, 50)]
    np.testing.assert_allclose(bounds[0], -elbo, atol=0.08)
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2]).all()
    assert (bounds[2] < EXACT + 0.005).all()
    np.testing.assert_allclose(bounds[2], EXACT, atol=0.05)


def mean_log_px():
    """E_q log N(x; z, 1), exact."""
    loc, scale = np.asarray(PARAMETERS["loc"]), np.exp(np.asarray(PARAMETERS["log_scale"]))
    return scipy.stats.norm(loc, 1).logpdf(X) - scale**2 / 2


@pytest.mark.parametrize("name", ["iwae", "stl", "dreg", "renyi", "ciwae"])
def test_every_weight_is_the_likelihood_where_q_is_the_posterior(name):
    np.testing.assert_allclose(
        value(name, 4, exact=True, hypers=HYPERS | {"elbo_share": jnp.float32(0)}), -EXACT, rtol=1e-5
    )


def test_miwae_lies_between_the_elbo_and_iwae_and_contains_both():
    np.testing.assert_allclose(value("miwae", 12, num_groups=1), value("iwae", 12), rtol=1e-6)
    log_weights = draws_of(PARAMETERS, 12).log_weights
    np.testing.assert_allclose(value("miwae", 12, num_groups=12), -log_weights.mean(0), rtol=1e-6)
    assert (mean("miwae", 12, num_groups=3) > mean("iwae", 12)).all()


def test_ciwae_mixes_two_bounds():
    draws = draws_of(PARAMETERS, 6)
    expected = 0.3 * draws.terms["neg_elbo_nats"] + 0.7 * value("iwae", 6)
    np.testing.assert_allclose(value("ciwae", 6), expected, rtol=1e-6)


def test_renyi_falls_from_iwae_to_the_elbo_as_alpha_rises():
    at = {a: value("renyi", 8, hypers={"alpha": jnp.float32(a)}) for a in (-1.0, 0.0, 0.5, 0.99, 1.0)}
    np.testing.assert_allclose(at[0.0], value("iwae", 8), rtol=1e-6)
    np.testing.assert_allclose(at[1.0], -draws_of(PARAMETERS, 8).log_weights.mean(0), rtol=1e-6)
    np.testing.assert_allclose(at[0.99], at[1.0], atol=0.02)
    assert (at[-1.0] < at[0.0]).all()
    assert (at[0.0] < at[0.5]).all()
    assert (at[0.5] < at[1.0]).all()


def gradients(name, k, draws, **fields):
    """The gradient of the training scalar in each draw of the noise: as the model puts `inference` in."""

    def scalar(parameters, seed):
        found = getattr(importance, name)(draws_of(parameters, k, seed), HYPERS, 0, **fields)
        if found.inference is None:
            return found.per_example.mean()
        parts = [  # the decoder's from one, the encoder's from the other
            draws_of(
                {n: jax.lax.stop_gradient(v) if (n == "slope") == part else v for n, v in parameters.items()}, k, seed
            )
            for part in (False, True)
        ]
        generative, inference = (getattr(importance, name)(part, HYPERS, 0, **fields) for part in parts)
        return generative.per_example.mean() + inference.inference.mean()

    return jax.jit(jax.vmap(jax.grad(scalar), (None, 0)))(PARAMETERS, jnp.arange(draws))


@pytest.mark.parametrize("name, like", [("dreg", "iwae"), ("stl", "iwae")])
def test_path_gradients_agree_in_the_mean_and_have_less_noise(name, like):
    k = 8 if name == "dreg" else 1
    ours, theirs = (gradients(n, k, 40000) for n in (name, like))
    for leaf, a, b in ((n, np.asarray(ours[n]), np.asarray(theirs[n])) for n in ours):
        error = 5 * np.sqrt((a.var(0) + b.var(0)) / len(a))
        assert (np.abs(a.mean(0) - b.mean(0)) < error).all(), leaf
    assert np.sum(np.var(ours["loc"], 0)) < np.sum(np.var(theirs["loc"], 0))


def test_the_path_gradient_vanishes_where_q_is_the_posterior():
    """Roeder et al. (2017), section 3.1: draw by draw, and not in the mean alone."""
    start = {
        "loc": jnp.asarray(X / 2, jnp.float32),
        "log_scale": jnp.full(3, 0.5 * np.log(0.5)),
        "slope": jnp.float32(1),
    }

    def loss(parameters, name):
        return getattr(importance, name)(draws_of(parameters, 1), HYPERS, 0).per_example.mean()

    np.testing.assert_allclose(jax.grad(loss)(start, "stl")["loc"], 0, atol=1e-6)
    assert np.abs(jax.grad(loss)(start, "iwae")["loc"]).max() > 0.01


def test_piwae_gives_the_encoder_the_gradient_of_miwae_and_the_decoder_that_of_iwae():
    mixed = gradients("piwae", 12, 3, num_groups=4)
    np.testing.assert_allclose(mixed["loc"], gradients("miwae", 12, 3, num_groups=4)["loc"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mixed["slope"], gradients("iwae", 12, 3)["slope"], rtol=1e-4, atol=1e-6)
    assert np.abs(mixed["loc"] - gradients("iwae", 12, 3)["loc"]).max() > 1e-3


def test_the_gradient_of_iwae_weighs_each_draw_by_its_share():
    """d/dtheta of -log mean w is -sum_k softmax(log w)_k dlog w_k, the shares held (Burda et al. 2016, equation 13)."""

    def by_hand(parameters):
        log_weights = draws_of(parameters, 7).log_weights
        return -(jax.lax.stop_gradient(jax.nn.softmax(log_weights, 0)) * log_weights).sum(0).mean()

    ours = jax.grad(lambda p: importance.iwae(draws_of(p, 7), HYPERS, 0).per_example.mean())(PARAMETERS)
    for name, leaf in jax.grad(by_hand)(PARAMETERS).items():
        np.testing.assert_allclose(ours[name], leaf, rtol=1e-4, atol=1e-6)


def test_groups_that_do_not_divide_the_draws_are_refused():
    with pytest.raises(ConfigError, match=r"num_samples=7 does not divide into model\.objective\.num_groups=4"):
        value("miwae", 7, num_groups=4)


def test_flows_have_no_density_to_hold():
    draws = draws_of(PARAMETERS, 2)._replace(q=object())
    with pytest.raises(ConfigError, match="take diagonal"):
        importance.stl(draws, HYPERS, 0)
