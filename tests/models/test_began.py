"""BEGAN: each player descends its own loss, k keeps the balance, and a collapse is noticed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.models.common import assert_same, batch_of, own_gradients
from tests.variants import load
from vae_jax import run, trained
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError
from vae_jax.models import began
from vae_jax.models.began import _diversity
from vae_jax.parts import put_together
from vae_jax.reporting.log import read_rows
from vae_jax.trained import make_model
from vae_jax.training.checkpoint import Checkpoints, restore
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec, TrainState

SHAPE, SIZE = (5, 4, 1), 6
KEY, RNG = jax.random.key(3), np.random.default_rng(0)
SMALL = {"model__encoder__hidden": (16,), "model__latent": 3}
IMAGES = np.float32(RNG.uniform(size=(SIZE, *SHAPE)))
BATCH = batch_of(IMAGES, first=20, classes=10)


@functools.cache
def built(**overrides):
    config = load("digits.py:variant=began", **SMALL | {"model__distance__name": "mae"} | overrides)
    model = make_model(config, Spec(SHAPE, 10, np.full(SHAPE, 0.4, np.float32)))
    return config, model, make_hypers(config.hypers, 5), *jax.jit(model.init)(jax.random.key(0))


@functools.cache
def step():
    """Return (params, stats, batch, key, hypers, step) -> (stats, metrics) of the model without labels, compiled."""
    loss = built()[1].loss
    return jax.jit(lambda *args: loss(*args)[1])


def drawn_z():
    return jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(KEY, i), (3,)))(BATCH["index"])


def error(model, params, stats, pictures):
    """L(v), from the public functions: the mean over the pixels, and over the batch."""
    again = model.decode(params, stats, model.encode(params, stats, BATCH | {"input": pictures}), BATCH["label"])
    return jnp.abs(pictures - again).mean()


@pytest.mark.parametrize("condition", [pytest.param(False, marks=pytest.mark.long), True])
def test_each_player_descends_the_gradient_of_its_own_loss(condition):
    _, model, hypers, params, stats = built(model__condition=condition)
    stats = stats | {"k": np.float32(0.7)}

    def generated(generator):
        return model.generate(params | {"generator": generator}, stats, drawn_z(), BATCH["label"])

    def loss_d(discriminator):
        judge, fake = params | {"discriminator": discriminator}, generated(params["generator"])
        return error(model, judge, stats, IMAGES) - 0.7 * error(model, judge, stats, fake)

    def loss_g(generator):
        return error(model, params, stats, generated(generator))

    got, (_, metrics) = jax.jit(jax.grad(model.loss, has_aux=True))(params, stats, BATCH, KEY, hypers, 0)
    for player, (value, expected) in own_gradients({"discriminator": loss_d, "generator": loss_g}, params).items():
        assert float(metrics[f"{player}_loss"]) == pytest.approx(float(value), rel=1e-5)
        assert_same(got[player], expected, atol=1e-7)


def test_groups_are_the_two_players():
    _, model, _, params, _ = built()
    labels = model.groups(params)
    assert jax.tree.structure(labels) == jax.tree.structure(params)
    assert {name: set(jax.tree.leaves(of)) for name, of in labels.items()} == {name: {name} for name in params}


@pytest.mark.parametrize("k, gamma", [(0.0, 0.1), (0.0, 1.0), (0.4, 0.5), (1.0, 0.1), (0.9, 3.0)])
def test_k_follows_the_balance_and_stays_between_0_and_1(k, gamma):
    _, model, hypers, params, stats = built()
    hypers = hypers | {"gamma": np.float32(gamma), "k_rate": np.float32(0.5)}
    weight, real = k, float(jax.jit(lambda: error(model, params, stats, IMAGES))())
    for _ in range(3):
        stats, metrics = step()(params, stats | {"k": np.float32(weight)}, BATCH, KEY, hypers, 0)
        balance = gamma * real - float(metrics["generator_loss"])
        assert float(metrics["k"]) == pytest.approx(weight)
        assert float(metrics["convergence"]) == pytest.approx(real + abs(balance), rel=1e-5)
        weight = float(np.clip(weight + 0.5 * balance, 0, 1))
        assert float(step()(params, stats, BATCH, KEY, hypers, 0)[1]["k"]) == pytest.approx(weight, abs=1e-6)


def test_diversity_is_the_distance_to_the_nearest_other_picture():
    real, fake = np.float32(RNG.normal(size=(9, *SHAPE))), np.float32(0.3 * RNG.normal(size=(9, *SHAPE)))
    diversity = jax.jit(_diversity)

    def nearest(pictures):
        return np.mean(
            [min(np.linalg.norm(a - b) for j, b in enumerate(pictures) if j != i) for i, a in enumerate(pictures)]
        )

    assert float(diversity(fake, real)) == pytest.approx(nearest(fake) / nearest(real), 1e-5)
    assert float(diversity(real + 7, real)) == pytest.approx(1, rel=1e-4)
    two = real[[0, 1] * 4]
    assert float(diversity(two, real)) < 0.01 < 0.3 < two.var(0).sum() / real.var(0).sum()
    assert np.isfinite(diversity(real, np.zeros_like(real)))


def test_a_generator_of_one_picture_is_noticed_when_it_has_lasted():
    _, model, hypers, params, stats = built()
    one_picture = params | {"generator": jax.tree.map(np.zeros_like, params["generator"])}

    @jax.jit
    def metrics_of_steps(params, batch):
        return jax.lax.scan(lambda stats, _: model.loss(params, stats, batch, KEY, hypers, 0)[1], stats, length=1700)[1]

    metrics = jax.tree.map(np.asarray, metrics_of_steps(one_picture, BATCH))
    assert np.abs(metrics["diversity"]).max() < 1e-3
    expected = int(np.ceil(np.log(0.2) / np.log(0.999)))
    assert int(np.argmax(metrics["collapsed"] > 0)) == pytest.approx(expected, abs=2)
    assert "has collapsed" in model.alarm({name: float(values[-50:].mean()) for name, values in metrics.items()})
    assert model.alarm(jax.tree.map(float, step()(params, stats, BATCH, KEY, hypers, 0)[1])) is None


def test_label_reaches_both_players():
    config, model, _, params, stats = built(model__condition=True)

    @jax.jit
    def told(label):
        pictures = [draw(params, stats, drawn_z(), label) for draw in (model.generate, model.decode)]
        return model.encode(params, stats, BATCH | {"label": label}), *pictures

    for a, b in zip(told(BATCH["label"]), told(BATCH["label"] + 1), strict=True):
        assert np.abs(a - b).max() > 1e-3
    with pytest.raises(ConfigError, match=r"model\.condition=True needs labels, and the data have none"):
        make_model(config, Spec(SHAPE, 0, np.zeros(SHAPE, np.float32)))


def test_a_distance_that_says_nothing_of_brightness_is_refused():
    config = load("digits.py:variant=began", model__distance__name="chroma")
    with pytest.raises(ConfigError, match=r"'chroma' leaves the brightness of samples open; take mae"):
        make_model(config, Spec((5, 4, 3), 0, np.zeros((5, 4, 3), np.float32)))


@pytest.mark.parametrize(
    "override, message",
    [
        ({"train__select": "best"}, r"train\.select='best' is not for .*; set train\.select=last"),
        ({"train__batch_size": 1}, r"train\.batch_size=1 .*; expected 2 or more"),
        ({"hypers__gamma": 0.0}, r"hypers\.gamma=0\.0 is not allowed: expected a number above 0"),
        ({"hypers__k_rate": 0.0}, r"hypers\.k_rate=0\.0 is not allowed: expected a number above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load("digits.py:variant=began", **override)


def test_resuming_restores_both_optimizers_k_and_the_halved_rate_to_the_bit(tmp_path, monkeypatch):
    def halve(patience, window):  # whatever the values are
        return optax.contrib.reduce_on_plateau(0.5, patience, rtol=0, atol=1e30, accumulation_size=window)

    monkeypatch.setattr("vae_jax.training.optim.halve_on_plateau", halve)
    config = load("digits.py:variant=began", **SMALL, train__halve_patience_epochs=1, hypers__k_rate=1e-3)
    parts = put_together(config, load_dataset(config, None))

    def after(steps):
        state = TrainState(**parts.start()["state"])
        state.stats["k"] += 0.5
        return parts.program.chunk(state, 0, steps)[0]

    whole, half = after(100), after(60)
    with Checkpoints(tmp_path / "checkpoints", 1) as checkpoints:
        checkpoints.save(60, {"state": half._asdict(), "best": parts.program.best(half, np.float32(0))})
    step, tree = restore(tmp_path / "checkpoints", parts.abstract)
    resumed, metrics = parts.program.chunk(TrainState(**tree["state"]), step, 100)
    assert state_sha256(resumed) == state_sha256(whole)
    assert float(resumed.stats["k"]) not in (0, 0.5)
    assert metrics["rate_factor"].max() < 1


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory):
    """A whole run whose diversity is measured as none, and what it said."""
    lines, folder = [], tmp_path_factory.mktemp("began") / "run"
    settings = SMALL | {"train__epochs": 20, "train__eval_every_epochs": 10}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "say", lines.append)
        patch.setattr(began, "_diversity", lambda *images: 0 * images[0].mean())
        patch.setattr(began, "_MEMORY", 0.99)  # a collapse has lasted after 161 steps
        run.train(load("digits.py:variant=began", **settings, train__ema_decay=None), folder)
    return folder, lines


def test_a_collapsed_run_warns_once_and_its_log_shows_it(collapsed):
    folder, lines = collapsed
    assert [line for line in lines if "warning, step" in line and "has collapsed" in line] == lines[:1]
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["split"] == "train"]
    assert rows[0]["collapsed"] == 0
    assert rows[-1]["collapsed"] == 1
    assert rows[-1]["diversity"] < 0.2


def test_a_run_is_drawn_evaluated_and_loaded(collapsed):
    folder, _ = collapsed
    pictures = {path.stem for path in (folder / "pictures").iterdir()}
    assert pictures == {"reconstructions", "loss", "latent_map", "latent_walk", "samples", "balance"}
    model = trained.load(folder)
    images = RNG.uniform(size=(4, 8, 8, 1)).astype(np.float32)
    assert model.reconstruct(images).shape == model.sample(4).shape == images.shape
    assert model.evaluate(images)["real_error"].shape == (4,)
    z = np.zeros((2, 3), np.float32)
    np.testing.assert_allclose(model.generate(z), model.sample(2, temperature=0), atol=1e-6)
    assert np.abs(model.generate(z) - model.decode(z)).max() > 1e-3
    with pytest.raises(ConfigError, match=r"model\.name=began has no likelihood"):
        model.neg_log_likelihood(images)
