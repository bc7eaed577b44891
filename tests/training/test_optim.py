"""The optimizer does what its config says, against hand-written updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.variants import load
from vae_jax.training.optim import averaged_params, make_hypers, make_optimizer

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


def test_epochs_become_steps():
    hypers = make_hypers({"kl_warmup_epochs": 2.5, "beta": 4.0}, 10)
    assert {name: float(value) for name, value in hypers.items()} == {"kl_warmup_steps": 25.0, "beta": 4.0}
