"""MLflow, the extra [mlflow]: MLFLOW_TRACKING_URI says where to, MLFLOW_EXPERIMENT_NAME under which experiment."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from vae_jax.errors import INTERRUPTED, Preempted
from vae_jax.reporting.tracking import Tracker
from vae_jax.storage import write_text

_BATCH, _SECONDS = 500, 5.0  # values in a request, of 1000 allowed; how long they may wait for more
_LONGEST = 6000  # characters of a parameter
_STATUS = {0: "FINISHED", Preempted.exit_code: "KILLED", INTERRUPTED: "KILLED"}  # all others are FAILED


def make(folder: pathlib.Path, step: int) -> Tracker:  # noqa: ARG001 (the server knows what it has)
    """Open the run whose id is in RUN/mlflow.id, or begin one; values that it has already are not sent again."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client, path = MlflowClient(), folder / "mlflow.id"
    old = path.read_text().strip() if path.exists() else ""
    run = old or _begin(client, folder.name)
    write_text(path, run)
    waiting: list[Metric] = []
    sent = time.monotonic()

    def send() -> None:
        nonlocal sent
        for start in range(0, len(waiting), _BATCH):
            client.log_batch(run, metrics=waiting[start : start + _BATCH])
        waiting.clear()
        sent = time.monotonic()

    newest = _newest(client, run) if old else lambda _: -1

    def scalars(step: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        fresh = {name: float(value) for name, value in values.items() if step > newest(name)}
        waiting.extend(Metric(name, value, now, step) for name, value in fresh.items())
        if len(waiting) >= _BATCH or time.monotonic() - sent >= _SECONDS:
            send()

    def images(step: int, files: Mapping[str, pathlib.Path]) -> None:  # noqa: ARG001 (its files have no step)
        for path in files.values():
            client.log_artifact(run, str(path), "pictures")

    def settings(config: Mapping[str, Any]) -> None:
        client.update_run(run, status="RUNNING")  # again, where it was resumed
        params = [Param(name, str(value)[:_LONGEST]) for name, value in config.items()]
        for start in range(0, len(params), 100):  # as many as a request may have
            client.log_batch(run, params=params[start : start + 100])

    def close(exit_code: int) -> None:
        send()
        client.set_terminated(run, _STATUS.get(exit_code, "FAILED"))

    return Tracker(scalars, images, settings, close)


def _newest(client: Any, run: str) -> Callable[[str], int]:
    """Return name -> the last step of which an earlier process has sent this value, or -1."""
    return functools.cache(
        lambda name: max((metric.step for metric in client.get_metric_history(run, name)), default=-1)
    )


def _begin(client: Any, name: str) -> str:
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    if not client.get_experiment_by_name(experiment):
        with contextlib.suppress(Exception):  # another run may be quicker
            client.create_experiment(experiment)
    return client.create_run(client.get_experiment_by_name(experiment).experiment_id, run_name=name).info.run_id
