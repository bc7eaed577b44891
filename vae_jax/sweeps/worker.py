"""One job of a sweep, in a process of its own: `python -m vae_jax.sweeps.worker SWEEP JOB [--data_dir=DATA]`.

The driver starts it, and it can be started by hand as well. It ends with the codes of `vae_jax.errors`, but with 0 also
where runs have failed by themselves: that is written in their folders.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from vae_jax import cli
from vae_jax.data.dataset import Dataset, is_streamed
from vae_jax.data.load import load_dataset
from vae_jax.errors import OutputError, Preempted, StorageError, UserError
from vae_jax.reporting.tracking import parse_names
from vae_jax.sweeps import folder as sweeps
from vae_jax.training.folder import open_folder, read_config


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
    with sweeps.held(args.sweep / "jobs" / f"{args.job}.lock", f"job {args.job}"):
        work(args.sweep.resolve(), args.job, runs, args.data_dir, trackers)


def work(
    path: pathlib.Path, job: str, runs: Sequence[str], data_dir: pathlib.Path | None, trackers: Sequence[str]
) -> None:
    """Do all runs of a job that are neither done nor failed: as members of one program, where there are several.

    Args:
        path: the folder of the sweep.
        job: its name.
        runs: all of its runs, those that are done included.
        data_dir: as of `scripts/train.py`.
        trackers: the same.

    Raises:
        UserError: what is not the fault of a run: a signal, a full disk, a folder in use.
    """
    config = read_config(path / "runs" / runs[0])
    left = sweeps.open_runs(path, job)
    dataset = _attempt(path, left, lambda: load_dataset(config, data_dir))
    if dataset is None:
        return
    if len(runs) > 1 and not is_streamed(config["data"], dataset):
        _attempt(path, left, lambda: _together(path, job, runs, dataset, trackers))
    else:
        for run in left:
            _attempt(path, [run], lambda run=run: _alone(path / "runs" / run, dataset, trackers))


def _alone(folder: pathlib.Path, dataset: Dataset, trackers: Sequence[str]) -> None:
    started_at, config = time.time(), read_config(folder)
    # JAX is imported from here on.
    from vae_jax.run import run, use_compilation_cache

    use_compilation_cache()
    with open_folder(folder, config) as opened:
        run(config, dataset, opened, started_at, trackers=trackers)


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
    except (Preempted, StorageError, OutputError):
        raise
    except UserError as error:
        code, message = error.exit_code, str(error)
    except MemoryError as error:
        code, message = StorageError.exit_code, f"out of memory: {error}; lower train.batch_size"
    for run in runs:
        sweeps.write_failure(path, run, code, message)
    return None


if __name__ == "__main__":
    cli.main(main)
