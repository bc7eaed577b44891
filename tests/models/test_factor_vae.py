"""FactorVAE: each player descends its own loss, and what the discriminator says is the total correlation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.variants import load
from vae_jax.models.factor_vae import _permuted
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec

SHAPE, SIZE, KEY = (1, 1, 3), 6, jax.random.key(3)
SMALL = {"model__encoder__hidden": (), "model__decoder__hidden": (4,), "model__latent": 2}


@functools.cache
def built(**overrides):
    fields = {"model__likelihood__name": "gaussian", "model__discriminator__hidden": (8,)} | SMALL | overrides
    config = load("zoo_disentangling.py:variant=factor", **fields)
    model = make_model(config, Spec(SHAPE, 0, np.full(SHAPE, 0.4, np.float32)))
    return model, make_hypers(config.hypers, 5), *jax.jit(model.init)(jax.random.key(0))


def batch_of(image, first=0):
    index = jnp.arange(len(image)) + first
    return {"image": image, "input": image, "label": jnp.zeros(len(image), int), "index": index}


def batch():
    return batch_of(jax.random.normal(jax.random.key(1), (SIZE, *SHAPE)))


def shake(tree, seed):
    """Return other values for the parameters of one network."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(structure, [p + jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)])


def test_gradient_of_the_vae_is_that_of_the_loss_of_evaluation_with_the_discriminator_fixed():
    model, hypers, params, stats = built()

    def own(vae):
        return model.evaluate(params | {"vae": vae}, stats, batch(), KEY, hypers)["loss"].mean()

    got = jax.jit(jax.grad(model.loss, has_aux=True))(params, stats, batch(), KEY, hypers, 0)[0]["vae"]
    for a, b in zip(*map(jax.tree.leaves, (got, jax.jit(jax.grad(own))(params["vae"]))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert np.abs(b).max() > 0


def test_gradient_of_the_discriminator_is_that_of_its_own_loss_and_ignores_the_weight():
    model, hypers, params, stats = built()

    def gradients(weight):
        return jax.jit(jax.grad(model.loss, has_aux=True))(
            params, stats, batch(), KEY, hypers | {"tc_weight": jnp.float32(weight)}, 0
        )[0]

    def own(discriminator):
        found = model.loss(params | {"discriminator": discriminator}, stats, batch(), KEY, hypers, 0)[1][1]
        return found["penalty_discriminator"]

    none, much, expected = gradients(0), gradients(100), jax.jit(jax.grad(own))(params["discriminator"])
    for a, b, c in zip(
        *(jax.tree.leaves(g["discriminator"]) for g in (none, much)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-7)
        assert np.abs(c).max() > 0
    for a, b in zip(*(jax.tree.leaves(g["vae"]["posterior"]) for g in (none, much)), strict=True):
        assert np.abs(a - b).max() > 1e-3
    for a, b in zip(*(jax.tree.leaves(g["vae"]["decoder"]) for g in (none, much)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_loss_of_the_discriminator_does_not_reach_the_vae():
    model, hypers, params, stats = built()

    def told(vae):
        return model.loss(params | {"vae": vae}, stats, batch(), KEY, hypers, 0)[1][1]["penalty_discriminator"]

    value, gradient = jax.jit(jax.value_and_grad(told))(params["vae"])
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))
    assert abs(float(told(shake(params["vae"], 1)) - value)) > 1e-3


def test_permuted_columns_keep_what_they_hold_and_lose_what_they_share():
    z = jax.random.normal(jax.random.key(0), (4000, 1)) + 0.1 * jax.random.normal(jax.random.key(1), (4000, 3))
    permuted = np.asarray(_permuted(KEY, z))
    np.testing.assert_array_equal(np.sort(permuted, 0), np.sort(z, 0))
    assert np.corrcoef(z.T)[np.triu_indices(3, 1)].min() > 0.98
    assert np.abs(np.corrcoef(permuted.T)[np.triu_indices(3, 1)]).max() < 5 / 4000**0.5
    assert np.abs(permuted - np.asarray(_permuted(jax.random.key(4), z))).max() > 1


@functools.cache
def trained_on_normal_codes(correlation):
    """Return a model whose q(z) is normal, with a trained discriminator: x ~ N(0, C), q(z|x) = N(x, 0.5^2 I)."""
    shape, noise = (1, 1, 2), 0.5
    config = load(
        "zoo_disentangling.py:variant=factor",
        **SMALL,
        model__likelihood__name="gaussian",
        model__discriminator__hidden=(32, 32),
        model__discriminator__activation="tanh",
    )
    model = make_model(config, Spec(shape, 0, np.zeros(shape, np.float32)))
    hypers = make_hypers(config.hypers, 5)
    params, stats = model.init(jax.random.key(0))
    posterior = jax.tree.map(jnp.zeros_like, params["vae"]["posterior"])
    posterior["loc"]["kernel"] = jnp.eye(2)
    posterior["log_scale"]["bias"] = jnp.full(2, np.log(noise))
    params["vae"]["posterior"] = posterior
    factor = np.linalg.cholesky([[1, correlation], [correlation, 1]])

    def data(key, count):
        return batch_of((jax.random.normal(key, (count, 2)) @ factor.T).reshape(-1, *shape))

    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, 400))

    def step(i, carry):
        discriminator, state = carry
        keys = jax.random.split(jax.random.key(i))
        given = {**params, "discriminator": discriminator}
        gradient, _ = jax.grad(model.loss, has_aux=True)(given, stats, data(keys[0], 512), keys[1], hypers, i)
        updates, state = optimizer.update(gradient["discriminator"], state)
        return optax.apply_updates(discriminator, updates), state

    start = params["discriminator"], optimizer.init(params["discriminator"])
    params["discriminator"] = jax.jit(lambda carry: jax.lax.fori_loop(0, 400, step, carry))(start)[0]
    values = model.evaluate(params, stats, data(jax.random.key(1000), 20_000), jax.random.key(1001), hypers)
    return values, correlation / (1 + noise**2)


@pytest.mark.parametrize("correlation", [0.0, -0.95])
def test_discriminator_tells_the_total_correlation_of_normal_codes(correlation):
    values, rho = trained_on_normal_codes(correlation)
    exact = -0.5 * np.log1p(-(rho**2))
    assert float(values["tc_nats"].mean()) == pytest.approx(exact, abs=0.1)
    np.testing.assert_allclose(values["loss"], values["neg_elbo_nats"] + 6 * values["tc_nats"], rtol=1e-5)


def test_a_discriminator_that_cannot_tell_has_a_loss_of_log_2_and_no_total_correlation():
    model, hypers, params, stats = built()
    blind = params | {"discriminator": jax.tree.map(jnp.zeros_like, params["discriminator"])}
    _, (_, metrics) = model.loss(blind, stats, batch(), KEY, hypers, 0)
    assert float(metrics["penalty_discriminator"]) == pytest.approx(np.log(2), rel=1e-6)
    assert float(metrics["tc_nats"]) == 0
    assert float(metrics["loss"]) == pytest.approx(float(metrics["neg_elbo_nats"]) + np.log(2), rel=1e-6)


def test_groups_are_the_two_players():
    model, _, params, _ = built()
    labels = model.groups(params)
    assert {player: set(jax.tree.leaves(labels[player])) for player in labels} == {
        "vae": {"vae"},
        "discriminator": {"discriminator"},
    }
