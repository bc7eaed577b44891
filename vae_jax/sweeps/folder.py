"""The folder of a sweep. What has happened is what its files say, so any process may die at any time.

sweep.json        what was asked for
runs/0007/        a run folder; point.json, what the sweep sets in it; error.json, if it has failed; and STOP, if it
                  is asked to end early
jobs/0003.json    the runs of one process, and what it is estimated to take; 0003.log, what it said; 0003.lock, held
                  while it lives; 0003.slot, its place on this machine; 0003/, the checkpoints of a group
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vae_jax import config as configs
from vae_jax.config_rules import flatten
from vae_jax.errors import ConfigError, OutputError, StorageError
from vae_jax.storage import open_in_place, subfolder, write_json, write_text
from vae_jax.sweeps.plan import Point
from vae_jax.training.folder import acquire

DONE, STOPPED, FAILED, RUNNING, WAITING = "done", "stopped", "failed", "running", "waiting"


@contextlib.contextmanager
def open_sweep(path: pathlib.Path, asked: Mapping[str, Any]) -> Iterator[pathlib.Path]:
    """Create the folder of a sweep or reopen it, and hold it against other drivers.

    Args:
        path: the folder.
        asked: what is asked for, as JSON holds it; it is compared with what was when the folder was made.

    Raises:
        ConfigError: it holds another sweep.
        OutputError: it cannot be created or written, holds something else, or another driver is using it.
    """
    path = pathlib.Path(path).expanduser().resolve()
    asked = json.loads(json.dumps(asked))
    with contextlib.ExitStack() as stack:
        try:
            if path.is_dir() and not (path / "sweep.json").exists() and set(os.listdir(path)) - {".lock"}:
                raise OutputError(f"{path} is not empty and holds no sweep (no sweep.json); choose another --workdir")
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(path / ".lock", f"sweep {path}"))
            if (path / "sweep.json").exists():
                _refuse_other(path, asked)
            else:
                write_json(path / "sweep.json", asked)
            for name in ("runs", "jobs"):
                subfolder(path / name)
        except OSError as error:
            raise OutputError(f"--workdir={path} cannot be written: {error.strerror}") from error
        yield path


@contextlib.contextmanager
def held(file: pathlib.Path, what: str) -> Iterator[None]:
    """Hold a lock, which the kernel frees however the process ends.

    Raises:
        OutputError: another process holds it.
    """
    with open_in_place(file, "a+") as lock:
        acquire(lock, what)
        yield


def read_sweep(path: pathlib.Path) -> dict[str, Any]:
    """Return what was asked for.

    Raises:
        ConfigError: it is no folder of a sweep, or sweep.json is damaged.
    """
    return _read(path / "sweep.json", f"{path} is no sweep, or not a whole one: it has no sweep.json")


def run_names(path: pathlib.Path) -> list[str]:
    """Return the names of all runs, in order."""
    return in_order(file.parent.name for file in (path / "runs").glob("*/point.json"))


def job_names(path: pathlib.Path) -> list[str]:
    """Return the names of all jobs, in order."""
    try:
        found = os.listdir(path / "jobs")
    except FileNotFoundError:  # of a driver that was killed just here
        return []
    return in_order(name.removesuffix(".json") for name in found if name.endswith(".json"))


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of runs or of jobs, numbers of four digits or more, in the order of the numbers."""
    return sorted(names, key=lambda name: (len(name), name))


def add_runs(path: pathlib.Path, points: Sequence[Point]) -> list[str]:
    """Make the run folders of points that have none, and return the names of those of all points, in their order."""
    known = {read_point(path, name)["config_sha256"]: name for name in run_names(path)}
    # Names of runs that someone has deleted are not given again: a job may still have them.
    taken = {*known.values(), *(run for job in job_names(path) for run in read_job(path, job)["runs"])}
    number = 1 + max(map(int, taken), default=-1)
    for point in points:
        if point.fingerprint not in known:
            known[point.fingerprint] = f"{number:04d}"
            folder = path / "runs" / f"{number:04d}"
            shutil.rmtree(folder, ignore_errors=True)  # of a driver that was killed just here: it has no point.json
            folder.mkdir()
            write_text(folder / "config.json", configs.to_json(point.config))
            content = {"overrides": point.overrides, "asked": point.asked, "config_sha256": point.fingerprint}
            write_json(folder / "point.json", json.loads(json.dumps(content)))
            number += 1
    return [known[point.fingerprint] for point in points]


def add_job(path: pathlib.Path, runs: Sequence[str], estimate: Mapping[str, Any]) -> str:
    """Write down a job, which no other has the runs of, and return its name."""
    taken = job_names(path)
    name = f"{int(taken[-1]) + 1 if taken else 0:04d}"
    write_json(path / "jobs" / f"{name}.json", {"runs": list(runs), "given_up": [], "estimate": dict(estimate)})
    return name


def read_point(path: pathlib.Path, run: str) -> dict[str, Any]:
    """Return what the sweep sets in a run, as resolved and as asked for, and the fingerprint of its config."""
    return _read(path / "runs" / run / "point.json", f"{path / 'runs' / run} has no point.json")


def read_job(path: pathlib.Path, job: str) -> dict[str, Any]:
    """Return the runs of a job, those that other jobs have taken over (`given_up`), and what it is to take."""
    return _read(path / "jobs" / f"{job}.json", f"sweep {path} has no job {job!r}")


def check_jobs(path: pathlib.Path) -> None:
    """Refuse to go on where someone has deleted a run of a job that is not finished.

    Raises:
        ConfigError: naming both.
    """
    for job in job_names(path):
        content = read_job(path, job)
        missing = [run for run in content["runs"] if not (path / "runs" / run / "point.json").exists()]
        if missing and open_runs(path, job):
            raise ConfigError(
                f"{path / 'runs' / missing[0]} is gone, and job {job}, which is not finished, trains it with "
                f"{len(content['runs']) - 1} others; restore it, or start the sweep anew with another --workdir"
            )


def open_runs(path: pathlib.Path, job: str) -> list[str]:
    """Return the runs of a job that are neither done nor failed."""
    content = read_job(path, job)
    return [run for run in content["runs"] if run not in content["given_up"] and is_open(path, run)]


def without_job(path: pathlib.Path) -> list[str]:
    """Return the runs that are neither done nor failed, and that no job has."""
    taken = {run for job in job_names(path) for run in open_runs(path, job)}
    return [run for run in run_names(path) if run not in taken and is_open(path, run)]


def is_open(path: pathlib.Path, run: str) -> bool:
    """Tell whether a run is there, and neither done nor failed."""
    there, *ended = ((path / "runs" / run / f"{file}.json").exists() for file in ("point", "results", "error"))
    return there and not any(ended)


def write_failure(path: pathlib.Path, run: str, exit_code: int, message: str) -> None:
    """Note that a run has failed, unless it is done."""
    if not (path / "runs" / run / "results.json").exists():
        write_json(path / "runs" / run / "error.json", {"exit_code": exit_code, "message": message})


def read_failure(path: pathlib.Path, run: str) -> dict[str, Any]:
    """Return exit code and message of a run that has failed."""
    return _read(path / "runs" / run / "error.json", f"run {run} has not failed")


def forget_failures(path: pathlib.Path) -> int:
    """Let failed runs run again, in jobs of their own, and return how many they are.

    Raises:
        ConfigError: the job of one still trains others, and holds its folder.
    """
    failed = {name for name in run_names(path) if status(path, name) == FAILED}
    if busy := sorted(failed & live_runs(path)):
        raise ConfigError(f"run {busy[0]} has failed, but its job still trains others; --retry when that has ended")
    for job in job_names(path):
        content = read_job(path, job)
        if again := failed & set(content["runs"]):
            given_up = sorted(again | set(content["given_up"]))
            write_json(path / "jobs" / f"{job}.json", content | {"given_up": given_up})
    for name in failed:
        (path / "runs" / name / "error.json").unlink()
    return len(failed)


def status(path: pathlib.Path, run: str, running: frozenset[str] = frozenset()) -> str:
    """Return where a run stands; `running` are the names of the runs whose job lives, see `live_runs`."""
    folder = path / "runs" / run
    if (folder / "results.json").exists():
        return STOPPED if _read(folder / "results.json", "").get("stopped") == "request" else DONE
    if (folder / "error.json").exists():
        return FAILED
    return RUNNING if run in running else WAITING


def live_jobs(path: pathlib.Path) -> set[str]:
    """Return the jobs that a process holds, on whatever machine shares the folder."""
    return {name for name in job_names(path) if is_held(path / "jobs" / f"{name}.lock")}


def live_runs(path: pathlib.Path) -> frozenset[str]:
    """Return the runs of the jobs that a process holds."""
    return frozenset(run for job in live_jobs(path) for run in read_job(path, job)["runs"])


def is_held(lock: pathlib.Path) -> bool:
    """Tell whether a process holds a lock."""
    try:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def _read(file: pathlib.Path, missing: str) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(missing) from error
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{file} cannot be read: {error}; restore it, or start the sweep anew elsewhere") from error


def _refuse_other(path: pathlib.Path, asked: Mapping[str, Any]) -> None:
    before, asked = dict(flatten(read_sweep(path))), dict(flatten(asked))
    for name in sorted(before.keys() | asked.keys()):
        if before.get(name) != asked.get(name):
            raise ConfigError(
                f"{path} holds another sweep ({name}: {before.get(name)} -> {asked.get(name)}); use another --workdir"
            )
