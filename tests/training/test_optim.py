"""The optimizer does what its config says, against hand-written updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.variants import load
from vae_jax.training.optim import averaged_params, halve_on_plateau, make_hypers, make_optimizer, rate_factor

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0])}
GRADS = {"w": jnp.array([0.3, -0.1, 4.0])}


def updates(steps=1, total=100, per_epoch=10, grads=GRADS, **overrides):
    config = load("digits.py:variant=vae", **{"schedule__name": "constant", "hypers__learning_rate": 0.1} | overrides)
    optimizer = make_optimizer(config, total, per_epoch)
    hypers = make_hypers(config.hypers, per_epoch)
    params, state, path = PARAMS, optimizer(hypers).init(PARAMS), []
    for _ in range(steps):
        change, state = optimizer(hypers).update(grads, state, params)
        params = jax.tree.map(jnp.add, params, change)
        path.append(params)
    return path, state


def test_sgd_and_momentum():
    (first, second), _ = updates(2, optimizer__name="sgd", optimizer__momentum=0.5)
    np.testing.assert_allclose(first["w"], PARAMS["w"] - 0.1 * GRADS["w"], rtol=1e-6)
    np.testing.assert_allclose(second["w"], first["w"] - 0.15 * GRADS["w"], rtol=1e-6)


def test_first_step_of_adam_is_the_sign_of_the_gradient():
    (first,), _ = updates(1)
    np.testing.assert_allclose(first["w"], PARAMS["w"] - 0.1 * np.sign(GRADS["w"]), rtol=1e-5)


def test_epsilon_damps_small_gradients():
    (first,), _ = updates(1, optimizer__eps=0.3)
    expected = PARAMS["w"] - 0.1 * GRADS["w"] / (np.abs(GRADS["w"]) + 0.3)
    np.testing.assert_allclose(first["w"], expected, rtol=1e-5)


def test_adamw_decays_the_parameters_beside_the_step():
    (first,), _ = updates(1, optimizer__name="adamw", hypers__weight_decay=0.2)
    expected = PARAMS["w"] - 0.1 * (np.sign(GRADS["w"]) + 0.2 * PARAMS["w"])
    np.testing.assert_allclose(first["w"], expected, rtol=1e-5)


def test_clipping_limits_the_global_norm():
    (first,), _ = updates(1, optimizer__name="sgd", train__clip_norm=0.5)
    step = (PARAMS["w"] - first["w"]) / 0.1
    assert np.linalg.norm(step) == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_allclose(step / np.linalg.norm(step), GRADS["w"] / np.linalg.norm(GRADS["w"]), rtol=1e-4)


def test_warmup_cosine_rises_from_zero_peaks_at_the_rate_and_falls_to_the_fraction():
    path, _ = updates(
        100,
        optimizer__name="sgd",
        schedule__name="warmup_cosine",
        schedule__warmup_epochs=2.0,
        schedule__final_fraction=0.1,
    )
    positions = np.array([PARAMS["w"][0], *(p["w"][0] for p in path)])
    rates = -np.diff(positions) / 0.3
    np.testing.assert_allclose(rates[:21], 0.1 * np.arange(21) / 20, atol=1e-5)
    assert np.all(np.diff(rates[20:]) <= 1e-6)
    assert rates[-1] == pytest.approx(0.01, rel=0.02)


def test_average_follows_the_parameters_and_is_what_is_evaluated():
    path, state = updates(2, optimizer__name="sgd", train__ema_decay=0.9)
    expected = 0.9 * (0.9 * PARAMS["w"] + 0.1 * path[0]["w"]) + 0.1 * path[1]["w"]
    np.testing.assert_allclose(averaged_params(state, path[1])["w"], expected, rtol=1e-6)
    _, state = updates(2, optimizer__name="sgd", train__ema_decay=None)
    assert averaged_params(state, path[1]) is path[1]


def test_each_group_is_clipped_and_kept_apart():
    grads = {"a": {"w": jnp.array([3.0, 4.0])}, "b": {"w": jnp.array([0.3, 0.4])}}
    config = load("digits.py:variant=vae", optimizer__name="sgd", schedule__name="constant", train__clip_norm=1.0)
    optimizer = make_optimizer(config, 10, 1, groups=lambda tree: {name: {"w": name} for name in tree})
    descent = optimizer(make_hypers(config.hypers, 1))
    change, _ = descent.update(grads, descent.init(grads), grads)
    rate = -config.hypers.learning_rate
    np.testing.assert_allclose(change["a"]["w"], rate * np.array([0.6, 0.8]), rtol=1e-5)
    np.testing.assert_allclose(change["b"]["w"], rate * np.array([0.3, 0.4]), rtol=1e-5)


def test_groups_descend_as_two_optimizers_would_alone():
    params = {"a": {"w": jnp.array([1.0, 2.0])}, "b": {"w": jnp.array([3.0])}}
    grads = {"a": {"w": jnp.array([0.3, -0.1])}, "b": {"w": jnp.array([4.0])}}
    config = load("digits.py:variant=vae", optimizer__name="adamw", hypers__weight_decay=0.1, train__ema_decay=0.9)
    hypers = make_hypers(config.hypers, 5)

    def descend(params, grads, groups):
        descent = make_optimizer(config, 50, 5, groups)(hypers)
        state = descent.init(params)
        for _ in range(8):
            change, state = descent.update(grads, state, params)
            params = optax.apply_updates(params, change)
        return params, averaged_params(state, params)

    both = descend(params, grads, lambda tree: {name: {"w": name} for name in tree})
    for name in params:
        alone = descend({name: params[name]}, {name: grads[name]}, None)
        for a, b in zip(both, alone, strict=True):
            np.testing.assert_array_equal(a[name]["w"], b[name]["w"])


def halving(values, patience, window):
    descent = halve_on_plateau(patience, window)

    def step(state, value):
        change, state = descent.update(PARAMS, state, value=value)
        return state, change["w"][0] / PARAMS["w"][0]

    return jax.lax.scan(step, descent.init(PARAMS), values)


def test_rate_is_halved_when_the_mean_of_a_window_sets_no_new_minimum_for_so_long():
    state, factors = halving(jnp.full(10 * 4, 3.0), patience=2, window=4)
    # The first window sets the minimum, the second and third do not: after these, from the step that ends the third.
    np.testing.assert_array_equal(factors, 0.5 ** np.maximum((np.arange(40) - 3) // 8, 0))
    assert float(rate_factor((state,))["rate_factor"]) == float(factors[-1]) == 0.5**4
    noisy = 3.0 - 0.01 * jnp.arange(40) + jnp.array([0.0, 5.0, -5.0, 0.0] * 10)  # windows fall, steps do not
    np.testing.assert_array_equal(halving(noisy, patience=1, window=4)[1], 1)
    assert rate_factor(()) == {}
    rising = -1000 + 0.05 * jnp.arange(4)  # by less than the ten thousandth part
    np.testing.assert_array_equal(halving(rising, patience=1, window=1)[1], [1, 0.5, 0.25, 0.125])


def test_members_are_halved_each_by_its_own_values():
    values = jnp.stack([jnp.full(40, 3.0), jnp.linspace(3, 1, 40)])
    _, together = jax.vmap(lambda v: halving(v, 2, 4))(values)
    for member in range(2):
        np.testing.assert_array_equal(together[member], halving(values[member], 2, 4)[1])
    assert together[0, -1] < together[1, -1] == 1


def test_epochs_become_steps():
    hypers = make_hypers({"kl_warmup_epochs": 2.5, "beta": 4.0}, 10)
    assert {name: float(value) for name, value in hypers.items()} == {"kl_warmup_steps": 25.0, "beta": 4.0}
