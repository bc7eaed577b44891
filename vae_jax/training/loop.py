"""The training loop: chunks of steps, validation, selection, checkpoints, early stopping."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import Diverged, Preempted
from vae_jax.training.optim import averaged_params
from vae_jax.types import TrainState, Tree


class Program(NamedTuple):
    """What the loop runs: compiled functions with their data."""

    chunk: Callable[[TrainState, int, int], tuple[TrainState, dict[str, np.ndarray]]]
    """(state, start, stop) -> (state after the steps start..stop-1, their metrics, each [stop - start])"""
    validate: Callable[[Tree, Tree, Mapping[str, jax.Array]], dict[str, float]]  # (params, stats, hypers) -> means
    best: Callable[[TrainState, np.float32], Tree]  # `best_of`, compiled
    steps_per_epoch: int
    close: Callable[[], None]  # ends the threads and processes that read ahead
    alarm: Callable[[Mapping[str, float]], str | None] | None = None  # as `Model.alarm`
    refit: Callable[[TrainState], TrainState] | None = None  # what `Model.refit` makes of a state
    refit_at: int = 0  # after so many steps, before they are validated and saved; 0 for never


class Outlet(NamedTuple):
    """Where results of the loop go."""

    save: Callable[[int, Tree], None]  # (step, checkpoint tree)
    wait: Callable[[], None]  # until the last save is on disk
    newest: Callable[[], int | None]  # newest step on disk
    write: Callable[..., None]  # (step, split, metrics, speed)
    show: Callable[[int, str], None]  # (step, text)
    warn: Callable[[str], None]  # (line)
    unit: str  # of the loss
    agree: Callable[[str | None, bool], tuple[str | None, bool]] = lambda signal_name, due: (signal_name, due)
    """(signal that has arrived, whether a save is due) -> the same for all processes; called once per chunk"""
    ended: Callable[[], bool] = lambda: False  # whether to end early, as if patience were over; asked at validations


class Clock:
    """How fast steps are done. The first one is apart: what it takes is compilation."""

    def __init__(self) -> None:
        self.steps, self.since = 0, time.monotonic()
        self.first_step_at: float | None = None  # time.time() when the first step was done

    def count(self, steps: int) -> None:
        """Note that so many steps have been done."""
        if self.first_step_at is None:
            self.first_step_at, self.since = time.time(), time.monotonic()
        else:
            self.steps += steps

    def steps_per_second(self) -> float:
        """Return the mean speed since the first step, validation included."""
        return self.steps / max(time.monotonic() - self.since, 1e-9)


def best_of(state: TrainState, value: jax.Array) -> Tree:
    """Return what a checkpoint holds beside the state: a copy of the parameters to evaluate, with their loss."""
    params = averaged_params(state.opt_state, state.params)
    best = {"params": params, "stats": state.stats, "loss": jnp.float32(value), "step": state.step}
    return jax.tree.map(jnp.copy, best)


def fit(
    program: Program,
    tree: Tree,
    outlet: Outlet,
    config: Mapping[str, Any],
    checkpoint_seconds: float,
    stopping: Any,
    clock: Clock,
) -> Tree:
    """Train from the checkpoint tree `tree` to the end, and return the final tree.

    Args:
        program: see `Program`.
        tree: of the start, or as restored; its buffers are given to the compiled program.
        outlet: see `Outlet`.
        config: `config.train`.
        checkpoint_seconds: the least time between two saves; the end is always saved.
        stopping: its `signal_name` is read once per chunk.
        clock: counts the steps.

    Raises:
        Diverged: the loss or gradient norm of a step is not finite; names the step and the last good checkpoint.
        Preempted: a signal arrived; the state is saved.
    """
    state, best = TrainState(**tree["state"]), tree["best"]
    total, per_epoch = config["epochs"] * program.steps_per_epoch, program.steps_per_epoch
    step, saved_at, warned = int(state.step), time.monotonic(), False
    done = step == total or _early(step, best, config, per_epoch, outlet)
    while not done:
        stop = next_stop(step, total, per_epoch, program.refit_at, config)
        state, metrics = _advance(program, state, step, stop, clock)
        if fault := fault_in_steps(metrics, step, per_epoch, functools.partial(_last_good, outlet)):
            raise fault
        step = stop
        if step == program.refit_at:
            state = program.refit(state)
        means = {name: float(values.mean(dtype=np.float64)) for name, values in metrics.items()}
        outlet.write(step, "train", means, {"images_per_second": clock.steps_per_second() * config["batch_size"]})
        text = f"loss {means['loss']:.4g}{outlet.unit}"
        if step % (config["eval_every_epochs"] * per_epoch) == 0 or step == total:
            best, value = _select(program, state, best, config["select"])
            outlet.write(step, "validation", value)
            text += f"  validation {value['loss']:.4g}  best {float(best['loss']):.4g}"
        outlet.show(step, text)
        if not warned and (warning := program.alarm and program.alarm(means)):
            outlet.warn(f"warning, step {step}: {warning}")
            warned = True
        signal_name, due = outlet.agree(stopping.signal_name, time.monotonic() - saved_at >= checkpoint_seconds)
        done = step == total or _early(step, best, config, per_epoch, outlet)
        if done or signal_name or due:
            outlet.save(step, {"state": state._asdict(), "best": best})
            saved_at = time.monotonic()
        if signal_name:
            outlet.wait()
            raise Preempted(f"{signal_name}: saved at step {step} of {total}; the same command resumes the run")
    return {"state": state._asdict(), "best": best}


def _advance(
    program: Program, state: TrainState, start: int, stop: int, clock: Clock
) -> tuple[TrainState, dict[str, np.ndarray]]:
    """Run the steps start..stop-1 and return the state and their metrics, each [stop - start]."""
    logs = []
    for begin, end in pairwise([start, stop] if clock.first_step_at else [start, start + 1, stop]):
        if begin < end:
            state, metrics = program.chunk(state, begin, end)
            logs.append(metrics)
            clock.count(end - begin)
    return state, {name: np.concatenate([log[name] for log in logs]) for name in logs[0]}


def next_stop(step: int, total: int, per_epoch: int, refit_at: int, config: Mapping[str, Any]) -> int:
    """Return where the next chunk ends: after steps_per_call steps, but not beyond the next validation or refit."""
    period = config["eval_every_epochs"] * per_epoch
    validation = (step // period + 1) * period
    end = min(step + config["steps_per_call"] - step % period % config["steps_per_call"], validation, total)
    return min(end, refit_at) if step < refit_at else end


def _early(step: int, best: Tree, config: Mapping[str, Any], per_epoch: int, outlet: Outlet) -> bool:
    """Tell whether this is a validation after which patience is over, or which is to be the last one."""
    if step == 0 or step % (config["eval_every_epochs"] * per_epoch):
        return False
    return outlet.ended() or impatient(step, int(best["step"]), config, per_epoch)


def impatient(step: int, best_step: int, config: Mapping[str, Any], per_epoch: int) -> bool:
    """Tell whether this is a validation after which patience is over; a function of the checkpoint alone."""
    patience = config["patience_epochs"]
    if patience is None or step == 0 or step % (config["eval_every_epochs"] * per_epoch):
        return False
    return step - best_step >= patience * per_epoch


def fault_in_steps(
    metrics: Mapping[str, np.ndarray], start: int, per_epoch: int, last_good: Callable[[], int | None]
) -> Diverged | None:
    """Return what is to be raised if the loss or the gradient norm of one of the steps from `start` on is not finite.

    `last_good` is asked for the step of the last checkpoint.
    """
    sound = np.isfinite(metrics["loss"]) & np.isfinite(metrics["grad_norm"])
    if sound.all():
        return None
    at = int(sound.argmin())
    name = "grad_norm" if np.isfinite(metrics["loss"][at]) else "loss"  # a gradient spoils the loss of the next step
    step, good = start + at, last_good()
    where = f"the last good checkpoint is step {good}" if good is not None else "no checkpoint had been saved"
    return Diverged(
        f"{name} is {metrics[name][at]} at step {step} (epoch {step / per_epoch:.2f}); {where}; "
        "lower hypers.learning_rate or set train.clip_norm",
        step,
        {key: [float(value) for value in values[: at + 1][-10:]] for key, values in metrics.items()},
    )


def fault_in_validation(value: Mapping[str, float], step: int) -> Diverged | None:
    """Return what is to be raised if a figure of a validation is not finite."""
    if all(np.isfinite(list(value.values()))):
        return None
    text = f"the validation loss is {value['loss']} at step {step}; lower hypers.learning_rate"
    return Diverged(text, step - 1, {f"validation_{name}": [value[name]] for name in value})


def _select(program: Program, state: TrainState, best: Tree, select: str) -> tuple[Tree, dict[str, float]]:
    params = averaged_params(state.opt_state, state.params)
    value = program.validate(params, state.stats, state.hypers)
    if fault := fault_in_validation(value, int(state.step)):
        raise fault
    loss = np.float32(value["loss"])  # as it is kept, so that a resumed run compares the same numbers
    if select == "last" or loss < np.float32(best["loss"]):
        return program.best(state, loss), value
    return best, value


def _last_good(outlet: Outlet) -> int | None:
    outlet.wait()
    return outlet.newest()
