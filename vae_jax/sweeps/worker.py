"""One job of a sweep, in a process of its own: `python -m vae_jax.sweeps.worker SWEEP JOB [--data_dir=DATA]`.

The driver starts it, and it can be started by hand as well. It ends with the codes of `vae_jax.errors`, but with 0 also
where runs have failed by themselves: that is written in their folders.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from vae_jax import cli
from vae_jax.config import fingerprint
from vae_jax.data.dataset import Dataset, is_streamed
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, OutOfMemory, OutputError, Preempted, StorageError, UserError, is_out_of_memory
from vae_jax.reporting.tracking import parse_names
from vae_jax.sweeps import folder as sweeps
from vae_jax.training.folder import read_config
from vae_jax.training.joining import Standing, joined, open_shared, standing


def main(argv: Sequence[str]) -> None:
    """Do a job; another process that does it already is let alone."""
    flags = cli.parser(__doc__)
    flags.add_argument("sweep", type=cli.path, help="folder of the sweep")
    flags.add_argument("job", help="its name")
    cli.add_data_dir(flags)
    cli.add_trackers(flags, default="none")
    args = cli.parse(flags, argv)
    trackers = parse_names(args.trackers)
    runs = sweeps.read_job(args.sweep, args.job)["runs"]
    place = standing(None, None, None, os.environ)  # under srun one of several, which do one run together
    with contextlib.ExitStack() as stack:
        if place is None or place.index == 0:
            stack.enter_context(sweeps.held(args.sweep / "jobs" / f"{args.job}.lock", f"job {args.job}"))
        work(args.sweep.resolve(), args.job, runs, Settings(args.data_dir, trackers, place))


class Settings(NamedTuple):
    """What all runs of a job have in common."""

    data_dir: pathlib.Path | None  # as of `scripts/train.py`
    trackers: Sequence[str]
    place: Standing | None  # among the processes of a run


def work(path: pathlib.Path, job: str, runs: Sequence[str], settings: Settings) -> None:
    """Do all runs of a job that are neither done nor failed: as members of one program, where there are several.

    Args:
        path: the folder of the sweep.
        job: its name.
        runs: all of its runs, those that are done included.
        settings: see `Settings`.

    Raises:
        UserError: what is not the fault of a run: a signal, a full disk, a folder in use.
    """
    config = read_config(path / "runs" / runs[0])
    left = sweeps.open_runs(path, job)
    if settings.place and len(runs) > 1:
        raise ConfigError("processes under srun do one run together, and this job has several; use --members=1")
    dataset = _attempt(path, left, lambda: load_dataset(config, settings.data_dir))
    if dataset is None:
        return
    if len(runs) > 1 and not is_streamed(config["data"], dataset):
        _attempt(path, left, lambda: _together(path, job, runs, dataset, settings.trackers))
    else:
        for run in left:
            _attempt(path, [run], lambda run=run: _alone(path / "runs" / run, dataset, settings))


def _alone(folder: pathlib.Path, dataset: Dataset, settings: Settings) -> None:
    started_at, config = time.time(), read_config(folder)
    with joined(settings.place, fingerprint(config)) as hosts, open_shared(hosts, folder, config) as opened:
        # JAX is imported from here on.
        from vae_jax.run import run, use_compilation_cache

        use_compilation_cache()
        run(config, dataset, opened, started_at, hosts, settings.trackers)


def _together(path: pathlib.Path, job: str, runs: Sequence[str], dataset: Dataset, trackers: Sequence[str]) -> None:
    # JAX is imported from here on.
    from vae_jax.run import use_compilation_cache
    from vae_jax.sweeps.group import run_group
    from vae_jax.training.member_mesh import one_device_per_core

    use_compilation_cache()
    one_device_per_core()
    run_group(path, path / "jobs" / job, runs, dataset, trackers)


def _attempt(path: pathlib.Path, runs: Sequence[str], attempt: Callable[[], Any]) -> Any:
    """Return what an attempt gives, or note its failure for the runs that are still open, and return None."""
    try:
        return attempt()
    except UserError as error:
        if isinstance(error, Preempted | StorageError | OutputError) and not isinstance(error, OutOfMemory):
            raise
        code, message = error.exit_code, str(error)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = next(iter(str(error).splitlines()), "")
        hint = "lower train.batch_size" + (", or run them again by --retry with a lower --members" if runs[1:] else "")
        code, message = OutOfMemory.exit_code, f"out of memory: {reason}; {hint}"
    for run in runs:
        if sweeps.is_open(path, run):  # one of a group may have ended before, or failed by itself
            sweeps.write_failure(path, run, code, message)
    return None


if __name__ == "__main__":
    cli.main(main)
