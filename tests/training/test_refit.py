"""A model that is refitted halfway: once, at its step, and to the bit whether the run is interrupted or not."""

import jax
import numpy as np
import pytest

from tests.training.recorded import Stopping, recording_outlet
from tests.variants import load
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, Preempted
from vae_jax.parts import put_together
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.loop import Clock, fit
from vae_jax.training.members import Callbacks, Member, fit_members

SMALL = {
    "data__name": "digits",
    "model__latent": 3,
    "model__components": 4,
    "model__encoder__hidden": (16,),
    "hypers__pretrain_epochs": 1.3,  # of 20 steps: 26
    "data__augmentation__epochs": 1,
    "schedule__warmup_epochs": 0.1,
    "train__batch_size": 64,
    "train__epochs": 3,
    "train__eval_every_epochs": 2,
    "train__steps_per_call": 7,
}


@pytest.fixture(scope="module")
def prepared():
    config = load("zoo_clustering.py:variant=vade", **SMALL)
    parts = put_together(config, load_dataset(config, None))
    return config, parts


def run(prepared, tree=None, program=None, call=0):
    """Train from a tree or the start, to the end or to the end of some call; return the trees that were saved."""
    config, parts = prepared
    outlet, _, saved = recording_outlet()
    try:
        tree = jax.tree.map(lambda leaf: leaf.copy(), tree) if tree else parts.start()
        fit(program or parts.program, tree, outlet, config["train"], 1e9, Stopping(call), Clock())
    except Preempted:
        assert call
    return saved


@pytest.fixture(scope="module")
def whole(prepared):
    return run(prepared)[60]


# Calls end after 7, 14, 21, 26, 28, ... steps.
@pytest.mark.parametrize("call, step", [(3, 21), (4, 26), (5, 28)])
def test_interrupted_before_at_and_after_the_refit_is_the_run_to_the_bit(prepared, whole, call, step):
    saved = run(prepared, call=call)
    assert list(saved) == [step]
    resumed = run(prepared, saved[step])[60]
    assert state_sha256(resumed["state"]) == state_sha256(whole["state"])
    assert state_sha256(resumed["best"]) == state_sha256(whole["best"])


def test_it_is_refitted_once_to_codes_of_the_pictures_as_they_are(prepared):
    parts = prepared[1]
    calls = []

    def refit(state):
        calls.append(int(state.step))
        return parts.program.refit(state)

    before, after = run(prepared, call=3)[21], run(prepared, program=parts.program._replace(refit=refit))[60]
    assert calls == [26]
    start = parts.start()["state"]["params"]["prior"]
    for name, value in before["state"]["params"]["prior"].items():
        np.testing.assert_array_equal(value, start[name])  # nothing has moved it before
    state = run(prepared, call=4)[26]["state"]
    feed = parts.feeds["train"]
    batch = feed.compiled(lambda batch: batch)(np.arange(feed.size))
    codes = np.asarray(parts.model.encode(state["params"], state["stats"], batch), np.float64)
    prior = state["params"]["prior"]
    weights = np.exp(np.asarray(prior["log_weights"], np.float64))
    assert weights.sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(weights @ np.asarray(prior["loc"], np.float64), codes.mean(0), rtol=0.1, atol=0.05)
    assert any(not np.array_equal(after["state"]["params"]["prior"][name], prior[name]) for name in prior)


def test_members_of_one_program_are_refused(prepared):
    config, parts = prepared
    members = [Member(0, np.arange(100), np.arange(10))]
    with pytest.raises(ConfigError, match="refitted halfway"):
        fit_members(parts.model, config, parts.feeds, members, jax.random.key(0), Callbacks())


def test_a_moving_average_of_what_is_replaced_is_refused():
    with pytest.raises(ConfigError, match=r"train\.ema_decay is not for a model with hypers\.pretrain_epochs"):
        load("zoo_clustering.py:variant=vade", train__ema_decay=0.99)
    with pytest.raises(ConfigError, match=r"hypers\.pretrain_epochs=91\.0 is more than train\.epochs=90"):
        load("zoo_clustering.py:variant=vade", hypers__pretrain_epochs=91.0)
