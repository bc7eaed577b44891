"""The loop on a scripted program: selection, patience, averages, and which step was the first to go wrong."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.training.loop import Clock, Outlet, Program, best_of, fault_in_steps, fit
from vae_jax.training.optim import EmaState
from vae_jax.types import TrainState

PER_EPOCH = 20
CONFIG = {
    "epochs": 12,
    "eval_every_epochs": 1,
    "steps_per_call": 7,
    "patience_epochs": None,
    "select": "best",
    "batch_size": 64,
}


def train(losses, ended=lambda: False, **config):
    """Train a program whose parameters are the number of steps, their average twice that, by its validation losses.

    Return the final checkpoint tree, the rows that were written, and the parameters that were validated.
    """
    remaining, rows, validated, saved = iter(losses), [], [], []

    def state(step):
        average = (EmaState({"w": jnp.float32(2 * step)}),)
        return TrainState(jnp.int32(step), {"w": jnp.float32(step)}, {}, average, jax.random.key(0), {})

    def chunk(before, start, stop):
        assert before.step == start
        return state(stop), {"loss": np.zeros(stop - start), "grad_norm": np.zeros(stop - start)}

    def validate(params, *_):
        validated.append(float(params["w"]))
        return {"loss": next(remaining)}

    program = Program(chunk, validate, best_of, PER_EPOCH, lambda: None)
    tree = {"state": state(0)._asdict(), "best": best_of(state(0), jnp.inf)}
    outlet = Outlet(
        save=lambda step, _: saved.append(step),
        wait=lambda: None,
        newest=lambda: saved[-1],
        write=lambda step, split, *_: rows.append((step, split)),
        show=lambda *_: None,
        warn=lambda _: None,
        unit="",
        ended=ended,
    )
    tree = fit(program, tree, outlet, CONFIG | config, 1e9, types.SimpleNamespace(signal_name=None), Clock())
    assert saved == [int(tree["state"]["step"])]
    return tree, rows, validated


def test_the_best_by_validation_is_kept_and_patience_ends_the_training():
    tree, rows, _ = train([5, 4, 6, 4, 5, 1], patience_epochs=3)
    assert (tree["state"]["step"], tree["best"]["step"], tree["best"]["loss"]) == (5 * PER_EPOCH, 2 * PER_EPOCH, 4)
    assert [step for step, split in rows if split == "validation"] == [20, 40, 60, 80, 100]


def test_the_last_parameters_can_be_asked_for():
    tree, _, _ = train([5, 4, 6], epochs=3, select="last")
    assert (tree["best"]["step"], tree["best"]["loss"]) == (3 * PER_EPOCH, 6)


def test_the_average_of_the_parameters_is_validated_and_kept():
    tree, _, validated = train([5, 4, 6], epochs=3)
    assert validated == [40, 80, 120]
    assert (tree["best"]["params"]["w"], tree["state"]["params"]["w"]) == (80, 60)


@pytest.mark.parametrize("steps_per_call", [7, 100])
def test_patience_is_counted_from_validation_to_validation(steps_per_call):
    settings = {"eval_every_epochs": 5, "patience_epochs": 3, "epochs": 60}
    tree, rows, _ = train([5, 4, 6, 1], steps_per_call=steps_per_call, **settings)
    assert (tree["state"]["step"], tree["best"]["step"]) == (15 * PER_EPOCH, 10 * PER_EPOCH)
    # Calls do not cross a validation.
    assert {step for step, split in rows if split == "train"} >= {100, 200, 300}


def test_one_who_is_asked_to_end_does_so_at_the_next_validation():
    tree, _, _ = train([5, 4], ended=lambda: True, eval_every_epochs=2)
    assert tree["state"]["step"] == tree["best"]["step"] == 2 * PER_EPOCH


SOUND = np.linspace(3, 2, 6)


def with_nan(*steps):
    return np.where(np.isin(np.arange(6), steps), np.nan, SOUND)


@pytest.mark.parametrize(
    ("loss", "grad_norm", "step", "name"),
    [
        (with_nan(4, 5), with_nan(3, 4, 5), 3, "grad_norm"),  # its gradient made the next loss nan
        (with_nan(3, 4, 5), with_nan(3, 4, 5), 3, "loss"),
        (SOUND, with_nan(5), 5, "grad_norm"),
    ],
)
def test_the_first_of_loss_and_gradient_is_named(loss, grad_norm, step, name):
    fault = fault_in_steps({"loss": loss, "grad_norm": grad_norm}, 100, 10, lambda: 90)
    assert str(fault).startswith(f"{name} is nan at step {100 + step} (epoch {10 + step / 10:.2f}); the last good ")
    assert fault.step == 100 + step and len(fault.metrics["loss"]) == step + 1


def test_sound_steps_are_no_fault():
    assert fault_in_steps({"loss": SOUND, "grad_norm": SOUND}, 0, 10, lambda: None) is None
