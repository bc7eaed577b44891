"""Runs of a sweep as members of one program. Each ends as a run folder like that of `scripts/train.py`.

Such a folder has no pictures; and its figures are those of the run alone to rounding, not to the bit.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax import results
from vae_jax.config import fingerprint
from vae_jax.data.dataset import Dataset, described
from vae_jax.data.feed import Feed, make_feed, make_spec
from vae_jax.errors import Diverged
from vae_jax.evaluation.summary import SEED
from vae_jax.reporting.log import MetricLog
from vae_jax.reporting.progress import Progress, say
from vae_jax.run import asked_to_stop
from vae_jax.storage import write_json
from vae_jax.streams import stream
from vae_jax.sweeps import folder as sweeps
from vae_jax.trained import make_model
from vae_jax.training import manifest
from vae_jax.training.checkpoint import Checkpoints
from vae_jax.training.failure import write_diverged
from vae_jax.training.folder import open_folder, read_config, read_manifest
from vae_jax.training.member_data import Member
from vae_jax.training.member_group import Callbacks, Ended
from vae_jax.training.member_keep import Keep
from vae_jax.training.members import fit_members
from vae_jax.training.stop import StopRequest
from vae_jax.types import Model, Tree


def run_group(
    path: pathlib.Path, keep: pathlib.Path, runs: Sequence[str], dataset: Dataset, trackers: Sequence[str]
) -> None:
    """Train the runs of a group, and evaluate each when it ends; what is done already is not done again.

    Args:
        path: the folder of the sweep.
        keep: where the group is saved while it trains.
        runs: all of them, those that are done included.
        dataset: of all of them.
        trackers: see `MetricLog`.

    Raises:
        UserError: of the whole group; see `fit_members`.
    """
    _allow_files(10 * len(runs))
    every = [read_config(path / "runs" / run) for run in runs]
    config, started_at = every[0], time.monotonic()
    model, feeds, members = make_members(every, dataset)
    spec = make_spec(dataset, config["data"]["pixels"])
    evaluate = functools.cache(lambda: results.make_evaluate(config, dataset, spec, model, feeds)[0])
    written = functools.cache(lambda: manifest.make_manifest(config, described(dataset)) | {"members": len(runs)})
    left = set(sweeps.open_runs(path, keep.name))
    with contextlib.ExitStack() as stack, StopRequest() as stopping:
        folders = {
            number: _Folder(path, run, every[number], stack, trackers) for number, run in enumerate(runs) if run in left
        }

        def begin(number: int, step: int) -> None:
            if number in folders:
                folders[number].begin(step, written)

        def deliver(number: int, tree: Tree | None, ended: Ended) -> None:
            if number in folders:
                share = {"seconds_total": (time.monotonic() - started_at) / len(runs)}
                folders[number].finish(tree, ended, dataset, lambda tree: evaluate()(tree) | share)

        def stop(number: int) -> bool:
            return asked_to_stop(path / "runs" / runs[number])

        progress = stack.enter_context(Progress(_steps(config, dataset), 0, len(runs) * config["train"]["batch_size"]))
        write = functools.partial(_write, folders, progress)
        kept = Keep(keep, config["checkpoint"]["every_seconds"], stopping)
        told = Callbacks(begin, write, stop, deliver, say)
        try:
            fit_members(model, config, feeds, members, stream(SEED, "evaluate"), told, kept)
        except BaseException as error:
            for folder in folders.values():  # before the logs are closed one by one: each waits for its trackers
                folder.end(error)
            raise


def make_members(every: Sequence[Mapping[str, Any]], dataset: Dataset) -> tuple[Model, dict[str, Feed], list[Member]]:
    """Return the model of runs that differ in seed and hyperparameters, its data, and what sets each run apart."""
    config = every[0]
    model = make_model(config, make_spec(dataset, config["data"]["pixels"]))
    feeds = {name: make_feed(config["data"], dataset, name) for name in dataset.splits}
    whole = [np.arange(dataset.sizes[name]) for name in ("train", "validation")]
    return model, feeds, [Member(one["seed"], *whole, one["hypers"], one["data"]["seed"]) for one in every]


class _Folder:
    """The run folder of a member."""

    def __init__(
        self,
        sweep: pathlib.Path,
        run: str,
        config: Mapping[str, Any],
        stack: contextlib.ExitStack,
        trackers: Sequence[str],
    ):
        self.sweep, self.run, self.config, self._stack, self._trackers = sweep, run, config, stack, trackers
        self.path = stack.enter_context(open_folder(sweep / "runs" / run, config))
        self.log: MetricLog | None = None

    def begin(self, step: int, make_manifest: Callable[[], dict[str, Any]]) -> None:
        """Write the manifest, or a restart into it, and open the log at a step."""
        if (self.path / "manifest.json").exists():
            begun = read_manifest(self.path)
            results.check_data(begun, make_manifest()["data"]["sha256"])
            content = manifest.note_restart(begun, step)
        else:
            content = manifest.of_other_run(make_manifest(), self.config)
        write_json(self.path / "manifest.json", content)
        self.log = self._stack.enter_context(MetricLog(self.path, step, self._trackers))
        self.log.settings(self.config)

    def finish(
        self, tree: Tree | None, ended: Ended, dataset: Dataset, evaluate: Callable[[Tree], dict[str, Any]]
    ) -> None:
        """Save and evaluate a member that has ended, or write down why there is nothing to."""
        if tree is None:
            write_diverged(ended.error, self.config, dataset.sizes["train"], self.path)
            self._fail(ended.error)
            return
        with Checkpoints(self.path / "checkpoints", 1, fingerprint(self.config)) as checkpoints:
            checkpoints.save(int(tree["state"]["step"]), tree)
            figures = evaluate(tree) | results.of_state(self.config, dataset, tree, self.path)
        try:
            write_json(self.path / "results.json", figures)
        except Diverged as error:  # a figure of the test split is not finite; the others of the group are
            self._fail(error)
            return
        self.log.results(figures["steps"], figures, ())
        self.end()

    def _fail(self, error: Diverged) -> None:
        sweeps.write_failure(self.sweep, self.run, Diverged.exit_code, str(error))
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Tell the trackers that the run has ended."""
        if self.log:
            self.log.end(error)


def _write(
    folders: Mapping[int, _Folder], progress: Progress, step: int, split: str, rows: Mapping[int, Mapping[str, float]]
) -> None:
    for number, row in rows.items():
        if number in folders:
            folders[number].log.write(step, split, row)
    if split == "train":
        progress.update(step, f"{len(rows)} runs, mean loss {np.mean([row['loss'] for row in rows.values()]):.4g}")


def _steps(config: Mapping[str, Any], dataset: Dataset) -> int:
    return config["train"]["epochs"] * (dataset.sizes["train"] // config["train"]["batch_size"])


def _allow_files(number: int) -> None:
    """Let this process have more files open than is usual, for every member has some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = number + soft if hard == resource.RLIM_INFINITY else min(number + soft, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
