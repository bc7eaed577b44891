"""Which operation of a step was the first to give nan."""

from __future__ import annotations

import contextlib
import pathlib
import traceback
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vae_jax.data.order import Order
from vae_jax.parts import Parts
from vae_jax.reporting.progress import say
from vae_jax.training.checkpoint import restore
from vae_jax.types import Batch, TrainState

_PACKAGE = pathlib.Path(__file__).parent
_LIBRARIES = pathlib.Path(jax.__file__).parent.parent


def first_nan(
    parts: Parts, config: Mapping[str, Any], checkpoints: pathlib.Path, run: str | None, step: int
) -> str | None:
    """Run the steps from the newest checkpoint to `step` again, the last two of them operation by operation.

    Args:
        parts: of the run; its program may have been closed, and is closed again.
        config: of the run.
        checkpoints: its folder of them.
        run: what they have in common; see `training.checkpoint.restore`.
        step: whose loss or gradient was not finite.

    Returns:
        The operation and the line of code that it stands in; None where nothing is nan, such as where it is inf.
    """
    say("not finite: running the steps since the last checkpoint again, to find the operation")
    with contextlib.closing(parts.program):
        found = restore(checkpoints, parts.abstract, say, run=run)
        state = TrainState(**(found[1] if found else parts.start())["state"])
        state = _at(parts, state, max(int(state.step), step - 1))  # the optimizer of this one may have made the nan
    first = int(state.step)
    try:
        for number in range(first, step + 1):
            if first < number == parts.program.refit_at:
                state = parts.program.refit(state)
            batch = _batch(config, parts, number)
            with jax.disable_jit(), jax.debug_nans(True):
                state, _ = parts.step(state, batch)
    except FloatingPointError as error:
        return f"{str(error).rpartition(' ')[2]} in {_line(error)}"
    return None


def _at(parts: Parts, state: TrainState, step: int) -> TrainState:
    """Return the state before a step."""
    program, begin = parts.program, int(state.step)
    if begin < program.refit_at <= step:
        state = program.refit(program.chunk(state, begin, program.refit_at)[0])
        begin = program.refit_at
    return program.chunk(state, begin, step)[0] if begin < step else state


def _batch(config: Mapping[str, Any], parts: Parts, step: int) -> Batch:
    feed, epoch = parts.feeds["train"], step // parts.program.steps_per_epoch
    index = Order(config["data"]["seed"], feed.size, config["train"]["batch_size"]).rows(step, step + 1)[0]
    return feed.batch(feed.arrays, feed.row(index, np.full_like(index, epoch)), epoch, training=True)


def _line(error: FloatingPointError) -> str:
    """Return file:line of the innermost frame that is of no library."""
    # What is raised while a gradient is taken has as its cause a trace of the line that the gradient is of.
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    lines = [(pathlib.Path(frame.filename), frame.lineno) for frame in frames]
    path, number = [line for line in lines if _PACKAGE in line[0].parents or _LIBRARIES not in line[0].parents][-1]
    return f"{path.relative_to(_PACKAGE.parent) if _PACKAGE in path.parents else path}:{number}"
