"""What a run says, and leaves in its folder, when it fails."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vae_jax.data.order import Order
from vae_jax.errors import Diverged, OutOfMemory, UserError, is_out_of_memory
from vae_jax.reporting.progress import say
from vae_jax.storage import write_json
from vae_jax.training.checkpoint import newest_step
from vae_jax.training.hosts import Hosts


@contextlib.contextmanager
def explained(
    config: Mapping[str, Any],
    num_train: int,
    folder: pathlib.Path,
    hosts: Hosts,
    first_nan: Callable[[int], str | None],
) -> Iterator[None]:
    """Leave diverged.json about a step whose loss is not finite, and say what decides on memory if that runs out.

    Args:
        config: of the run.
        num_train: examples of the training split.
        folder: of the run.
        hosts: its processes.
        first_nan: tells of a step which operation was the first to give nan. It is asked if there is one process.

    Raises:
        Diverged: again, with that operation if there is one.
        OutOfMemory: the memory has run out; names the batch sizes.
    """
    try:
        yield
    except Diverged as error:
        if hosts.first:
            write_diverged(error, config, num_train, folder)
        if error.step is None or "loss" not in error.metrics or hosts.count > 1:
            raise
        operation = _ask(first_nan, error.step)
        if operation is None:
            raise
        located = Diverged(f"{error}; the first nan is of {operation}", error.step, error.metrics)
        write_diverged(located, config, num_train, folder)
        raise located from error
    except Exception as error:
        if isinstance(error, UserError) or not is_out_of_memory(error):
            raise
        sizes = " and ".join(f"{part}.batch_size={config[part]['batch_size']}" for part in ("train", "evaluate"))
        reason = (str(error) or type(error).__name__).splitlines()[0][:150]
        raise OutOfMemory(f"out of memory with {sizes} ({reason}); lower them, in another run folder") from error


def _ask(first_nan: Callable[[int], str | None], step: int) -> str | None:
    try:
        return first_nan(step)
    except (Exception, KeyboardInterrupt) as error:  # whatever it is, it must not hide that the run has diverged
        say(f"which operation it was has not been found: {str(error) or type(error).__name__}")
        return None


def write_diverged(error: Diverged, config: Mapping[str, Any], num_train: int, folder: pathlib.Path) -> None:
    """Write diverged.json, if it is known in which step that was: all that is needed to look at the step again."""
    if error.step is not None:
        order = Order(config["data"]["seed"], num_train, config["train"]["batch_size"])
        write_json(folder / "diverged.json", _describe(error, config, order, newest_step(folder / "checkpoints")))


def _describe(error: Diverged, config: Mapping[str, Any], order: Order, newest: int | None) -> dict[str, Any]:
    return {
        "message": str(error),
        "step": error.step,
        "rows": order.rows(error.step, error.step + 1)[0].tolist(),  # of the training split: the batch of the step
        "seeds": {"seed": config["seed"], "data_seed": config["data"]["seed"]},  # with the step, they fix its noise
        "hypers": dict(config["hypers"]),
        # of the steps up to this one, as text: JSON holds no nan
        "metrics": {name: [repr(value) for value in values] for name, values in error.metrics.items()},
        "last_good_checkpoint": newest,
    }
