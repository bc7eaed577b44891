"""FactorVAE: each player descends its own loss, and what the discriminator says is the total correlation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.models.common import assert_same, batch_of
from tests.variants import load
from vae_jax.models.factor_vae import _permuted
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec

SHAPE, SIZE, KEY = (1, 1, 3), 6, jax.random.key(3)
RNG = np.random.default_rng(0)
SMALL = {"model__encoder__hidden": (), "model__decoder__hidden": (4,), "model__latent": 2}


def model_of(shape, **overrides):
    fields = SMALL | {"model__likelihood__name": "gaussian"} | overrides
    config = load("zoo_disentangling.py:variant=factor", **fields)
    return make_model(config, Spec(shape, 0, np.full(shape, 0.4, np.float32))), make_hypers(config.hypers, 5)


@functools.cache
def built():
    model, hypers = model_of(SHAPE, model__discriminator__hidden=(8,))
    return model, hypers, *jax.jit(model.init)(jax.random.key(0))


BATCH = batch_of(np.float32(RNG.normal(size=(SIZE, *SHAPE))))


@functools.cache
def compiled():
    """Return the gradient of the loss, given the hypers too, and the loss of the discriminator with its gradient."""
    model, hypers, _, stats = built()

    def own(params):
        return model.loss(params, stats, BATCH, KEY, hypers, 0)[1][1]["penalty_discriminator"]

    gradient = jax.jit(jax.grad(lambda params, hypers: model.loss(params, stats, BATCH, KEY, hypers, 0)[0]))
    return gradient, jax.jit(jax.value_and_grad(own))


def test_gradient_of_the_vae_is_that_of_the_loss_of_evaluation_with_the_discriminator_fixed():
    model, hypers, params, stats = built()

    def own(vae):
        return model.evaluate(params | {"vae": vae}, stats, BATCH, KEY, hypers)["loss"].mean()

    assert_same(compiled()[0](params, hypers)["vae"], jax.jit(jax.grad(own))(params["vae"]))


def test_gradient_of_the_discriminator_is_that_of_its_own_loss_and_ignores_the_weight():
    (_, hypers, params, _), (gradient, own) = built(), compiled()
    none, much = (gradient(params, hypers | {"tc_weight": np.float32(weight)}) for weight in (0, 100))
    expected = own(params)[1]
    for a, b, c in zip(*(jax.tree.leaves(g["discriminator"]) for g in (none, much, expected)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-7)
        assert np.abs(c).max() > 0
    for a, b in zip(*(jax.tree.leaves(g["vae"]["posterior"]) for g in (none, much)), strict=True):
        assert np.abs(a - b).max() > 1e-3
    for a, b in zip(*(jax.tree.leaves(g["vae"]["decoder"]) for g in (none, much)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_loss_of_the_discriminator_does_not_reach_the_vae():
    params, (_, own) = built()[2], compiled()
    value, gradient = own(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["vae"]))
    shaken = jax.tree.map(lambda leaf: leaf + np.float32(RNG.normal(size=leaf.shape)), params["vae"])
    assert abs(float(own(params | {"vae": shaken})[0] - value)) > 1e-3


def test_permuted_columns_keep_what_they_hold_and_lose_what_they_share():
    z, permute = np.float32(RNG.normal(size=(4000, 1)) + 0.1 * RNG.normal(size=(4000, 3))), jax.jit(_permuted)
    permuted = np.asarray(permute(KEY, z))
    np.testing.assert_array_equal(np.sort(permuted, 0), np.sort(z, 0))
    assert np.corrcoef(z.T)[np.triu_indices(3, 1)].min() > 0.98
    assert np.abs(np.corrcoef(permuted.T)[np.triu_indices(3, 1)]).max() < 5 / 4000**0.5
    assert np.abs(permuted - permute(jax.random.key(4), z)).max() > 1


@functools.cache
def terms_with_trained_discriminator():
    """Return (L, s) -> what is found where q(z) is normal: x ~ N(0, L L'), q(z|x) = N(x, s^2 I)."""
    shape = (1, 1, 2)
    fields = {"model__discriminator__hidden": (32, 32), "model__discriminator__activation": "tanh"}
    model, hypers = model_of(shape, **fields)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, 400))

    @jax.jit
    def terms(factor, noise):
        params, stats = model.init(jax.random.key(0))
        posterior = jax.tree.map(jnp.zeros_like, params["vae"]["posterior"])
        posterior["loc"]["kernel"] = jnp.eye(2)
        posterior["log_scale"]["bias"] = jnp.full(2, jnp.log(noise))
        vae = params["vae"] | {"posterior": posterior}

        def data(key, count):
            return batch_of((jax.random.normal(key, (count, 2)) @ factor.T).reshape(-1, *shape))

        def step(i, carry):
            discriminator, state = carry
            keys = jax.random.split(jax.random.key(i))
            given = {"vae": vae, "discriminator": discriminator}
            gradient, _ = jax.grad(model.loss, has_aux=True)(given, stats, data(keys[0], 512), keys[1], hypers, i)
            updates, state = optimizer.update(gradient["discriminator"], state)
            return optax.apply_updates(discriminator, updates), state

        start = params["discriminator"], optimizer.init(params["discriminator"])
        params = {"vae": vae, "discriminator": jax.lax.fori_loop(0, 400, step, start)[0]}
        return model.evaluate(params, stats, data(jax.random.key(1000), 20_000), jax.random.key(1001), hypers)

    return terms


@pytest.mark.parametrize("correlation", [0.0, -0.95])
def test_discriminator_tells_the_total_correlation_of_normal_codes(correlation):
    factor = np.float32(np.linalg.cholesky([[1, correlation], [correlation, 1]]))
    values = jax.tree.map(np.asarray, terms_with_trained_discriminator()(factor, 0.5))
    exact = -0.5 * np.log1p(-((correlation / (1 + 0.5**2)) ** 2))
    assert values["tc_nats"].mean() == pytest.approx(exact, abs=0.1)
    np.testing.assert_allclose(values["loss"], values["neg_elbo_nats"] + 6 * values["tc_nats"], rtol=1e-5)


def test_a_discriminator_that_cannot_tell_has_a_loss_of_log_2_and_no_total_correlation():
    model, hypers, params, stats = built()
    blind = params | {"discriminator": jax.tree.map(np.zeros_like, params["discriminator"])}
    _, (_, metrics) = jax.jit(lambda params: model.loss(params, stats, BATCH, KEY, hypers, 0))(blind)
    assert float(metrics["penalty_discriminator"]) == pytest.approx(np.log(2), rel=1e-6)
    assert float(metrics["tc_nats"]) == 0
    assert float(metrics["loss"]) == pytest.approx(float(metrics["neg_elbo_nats"]) + np.log(2), rel=1e-6)


def test_groups_are_the_two_players():
    model, _, params, _ = built()
    labels = model.groups(params)
    assert {name: set(jax.tree.leaves(of)) for name, of in labels.items()} == {name: {name} for name in params}
