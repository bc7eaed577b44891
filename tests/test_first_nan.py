"""The operation that a loss became nan in is named, with its line of code."""

import json
import os
import pathlib
import re
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.variants import load
from vae_jax import run
from vae_jax.data.load import load_dataset
from vae_jax.errors import Diverged
from vae_jax.first_nan import _at, _line, first_nan
from vae_jax.parts import put_together
from vae_jax.training.checkpoint import Checkpoints
from vae_jax.training.fingerprint import state_sha256
from vae_jax.types import TrainState

SMALL = {"model__encoder__hidden": (8,), "train__epochs": 4, "train__eval_every_epochs": 2}


@pytest.fixture
def diverging(monkeypatch):
    """A config whose loss is the logarithm of a negative scale; checked, it would be refused."""
    with monkeypatch.context() as unchecked:
        unchecked.setattr("vae_jax.config.check_values", lambda _: None)
        return load("digits.py", model__likelihood__min_scale=-1.0, **SMALL)


def test_divergence_names_the_operation_and_its_line(tmp_path, root, diverging):
    with pytest.raises(Diverged) as caught:
        run.train(diverging, tmp_path / "run")
    file, line = re.search(r"; the first nan is of log in (vae_jax/[\w/]+\.py):(\d+)$", str(caught.value)).groups()
    assert "jnp.log(min_scale + " in (root / file).read_text().splitlines()[int(line) - 1]
    assert json.loads((tmp_path / "run" / "diverged.json").read_text())["message"] == str(caught.value)


def test_a_signal_ends_the_search_and_the_run_has_diverged(tmp_path, monkeypatch, capsys, diverging):
    def asked_to_stop(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(run, "first_nan", asked_to_stop)
    with pytest.raises(Diverged, match=r"train\.clip_norm$"):
        run.train(diverging, tmp_path / "run")
    assert (tmp_path / "run" / "diverged.json").exists()
    assert "has not been found: KeyboardInterrupt" in capsys.readouterr().out


def test_the_steps_since_the_checkpoint_are_run_again_and_a_sound_one_has_no_nan(tmp_path):
    config = load("digits.py", **SMALL)
    parts = put_together(config, load_dataset(config, None))
    state, _ = parts.program.chunk(TrainState(**parts.start()["state"]), 0, 2)
    with Checkpoints(tmp_path, 1, "a run") as checkpoints:
        checkpoints.save(2, {"state": state._asdict(), "best": parts.start()["best"]})
    again = _at(parts, state, 4)
    assert state_sha256(again) == state_sha256(_at(parts, TrainState(**parts.start()["state"]), 4))
    parts.program.close()
    assert first_nan(parts, config, tmp_path, "a run", 4) is None


@pytest.fixture
def refitted():
    """The config and the parts of a model that is refitted after an epoch."""
    small = {"model__encoder__hidden": (8,), "model__components": 3, "train__epochs": 2, "data__name": "digits"}
    config = load("zoo_clustering.py", hypers__pretrain_epochs=1.0, **small)
    return config, put_together(config, load_dataset(config, None))


def test_a_refit_in_between_is_done_again(refitted):
    parts = refitted[1]
    program, start = parts.program, lambda: TrainState(**parts.start()["state"])
    assert program.refit_at == program.steps_per_epoch
    state = program.refit(program.chunk(start(), 0, program.refit_at)[0])
    expected = program.chunk(state, program.refit_at, program.refit_at + 2)[0]
    assert state_sha256(_at(parts, start(), program.refit_at + 2).params) == state_sha256(expected.params)


@pytest.mark.long
def test_a_refit_between_the_two_last_steps_is_done_again(tmp_path, refitted):
    (config, parts), steps = refitted, []

    def refit(state):
        steps.append(int(state.step))
        return parts.program.refit(state)

    recording = parts._replace(program=parts.program._replace(refit=refit))
    assert first_nan(recording, config, tmp_path, None, parts.program.refit_at) is None
    assert steps == [parts.program.refit_at]


def test_what_only_a_gradient_makes_nan_is_named_by_the_line_it_is_of():
    def root_of_nothing(x):
        scaled = 0 * x
        return jnp.sqrt(scaled).sum()

    with pytest.raises(FloatingPointError) as caught, jax.disable_jit(), jax.debug_nans(True):
        jax.grad(root_of_nothing)(np.ones(3, np.float32))
    file, _, line = _line(caught.value).rpartition(":")
    assert file == __file__
    assert "0 * x" in pathlib.Path(__file__).read_text().splitlines()[int(line) - 1]
