"""The driver of a sweep: it starts jobs, looks after them, and asks for more points where a search gives them.

It keeps nothing that is not in the folder. One that is killed leaves its jobs running; the next one waits for those
that still live, and starts those that do not.
"""

from __future__ import annotations

import collections
import functools
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.errors import Preempted, StorageError, UserError
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.launchers.task import Task
from vae_jax.training.folder import read_config
from vae_jax.training.stop import StopRequest

_RESUME = Preempted.exit_code
_BUG = 1  # it would happen again
_POLL_SECONDS = 0.2


class Settings(NamedTuple):
    """How a sweep is driven."""

    worker: tuple[str, ...] = ()  # further arguments of a worker
    retries: int = 3  # of a job that ends without having got further


class Source(NamedTuple):
    """Where points come from while a sweep runs."""

    more: Callable[[], bool] = lambda: False
    """Adds runs and jobs, if it is time for more; tells whether there may be still more."""
    watch: Callable[[], None] = lambda: None
    """Looks at the runs that train."""


NO_SOURCE = Source()


def drive(
    path: pathlib.Path, launcher: Any, settings: Settings, say: Callable[[str], None], source: Source = NO_SOURCE
) -> None:
    """Run the jobs of a sweep until no run is left that is neither done nor failed.

    Args:
        path: the folder, held open.
        launcher: see `vae_jax.sweeps.launchers`.
        settings: see `Settings`.
        say: is told what happens.
        source: see `Source`.

    Raises:
        Preempted: a signal has arrived; the jobs were asked to save and stop, and the same command goes on.
        StorageError: a job could not write its files; nothing is lost, and the same command goes on.
        UserError: of the source; the jobs were asked to save and stop.
    """
    jobs = _Jobs(path, launcher, settings, say)
    with StopRequest() as stopping:
        while True:
            more = _points(source, launcher)
            waiting = jobs.start()
            jobs.end()
            if not waiting and not more and not any(jobs.alive()):
                return
            if stopping.signal_name:
                launcher.stop()
                _, others = jobs.alive()
                but = f", but for {len(others)} that another driver has started" if others else ""
                raise Preempted(
                    f"{stopping.signal_name}: the jobs are stopped{but}; the same command finishes the sweep"
                )
            time.sleep(_POLL_SECONDS)


def _points(source: Source, launcher: Any) -> bool:
    """Return whether there may be more points. What the source cannot go on with ends the jobs as well."""
    try:
        more = source.more()
        source.watch()
    except UserError:
        launcher.stop()
        raise
    return more


class _Jobs:
    """What the driver knows of jobs beside what the folder tells: how often each has died in vain."""

    def __init__(self, path: pathlib.Path, launcher: Any, settings: Settings, say: Callable[[str], None]):
        self.path, self.launcher, self.settings, self.say = path, launcher, settings, say
        self.in_vain: dict[str, int] = collections.Counter()
        self.reached: dict[str, Any] = {}
        self.seen = set(sweeps.job_names(path))
        self.open = {job for job in self.seen if sweeps.open_runs(path, job)}  # or over, and not yet looked at
        self.others = {job for job in self.open if self._is_held(job)}

    def alive(self) -> tuple[set[str], set[str]]:
        """Return the jobs of the launcher that run or are queued, and those that another driver has started."""
        ours = self.launcher.running()
        # Only the others: to look at a lock is to hold it for a moment, and a worker that starts just then would end.
        self.others = {job for job in self.others - ours if self._is_held(job)}
        return ours, self.others

    def start(self) -> bool:
        """Start what there is room for; return whether any job is still to be finished."""
        new = set(sweeps.job_names(self.path)) - self.seen
        self.seen |= new
        self.open |= new
        ours, others = self.alive()
        for job in self.launcher.submit(self._waiting(sweeps.in_order(self.open - ours - others)), others):
            self.reached[job] = self._progress(job)
        return bool(self.open)

    def _waiting(self, jobs: Sequence[str]) -> Iterator[Task]:
        """Yield those jobs that are to be started. Of thousands only those that there is room for are looked at."""
        for job in jobs:
            if self._is_held(job):
                self.others.add(job)
            elif not sweeps.open_runs(self.path, job):
                self.open.remove(job)
            else:
                yield self._task(job)

    def end(self) -> None:
        """Note the jobs that have ended, and give up one that has died too often without getting further."""
        for job, code in self.launcher.ended().items():
            left = sweeps.open_runs(self.path, job)
            if not left:
                continue
            if code == StorageError.exit_code:
                self.launcher.stop()
                raise StorageError(
                    f"job {job} could not write: {self._last_line(job)}; then run the same command again"
                )
            moved = self._progress(job) != self.reached.get(job)
            self.in_vain[job] = 0 if moved or code == _RESUME else self.in_vain[job] + 1
            self.say(f"job {job} ended with code {code}, {len(left)} runs to go: {self._last_line(job)}")
            if code == _BUG or self.in_vain[job] > self.settings.retries:
                for run in left:
                    sweeps.write_failure(self.path, run, code, self._last_line(job))
                self.say(f"job {job} is given up: {'a bug' if code == _BUG else 'it dies and gets no further'}")

    @functools.cache  # noqa: B019 (as long as the sweep)
    def _task(self, job: str) -> Task:
        estimate = sweeps.read_job(self.path, job)["estimate"]
        command = (sys.executable, "-m", "vae_jax.sweeps.worker", str(self.path), job, *self.settings.worker)
        return Task(job, command, self._file(job, "log"), estimate.get("memory_mb") or 0.0)

    def _progress(self, job: str) -> Any:
        """Return what changes when a job gets further: its open runs, and the newest checkpoints."""
        left = sweeps.open_runs(self.path, job)
        saved = [*self.path.glob(f"jobs/{job}/group-*/slots-*/*")]
        saved += [step for run in left for step in self.path.glob(f"runs/{run}/checkpoints/*")]
        return left, sorted(str(step) for step in saved if step.name.isdigit())

    def _last_line(self, job: str) -> str:
        log = self._file(job, "log")
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def _is_held(self, job: str) -> bool:
        return sweeps.is_held(self._file(job, "lock"))

    def _file(self, job: str, suffix: str) -> pathlib.Path:
        return self.path / "jobs" / f"{job}.{suffix}"


def plan_jobs(
    path: pathlib.Path,
    most: int | None,
    estimates: Callable[[Sequence[tuple[Mapping[str, Any], int]]], list[dict[str, Any]]],
    groups_of: Callable[..., list[list[int]]],
) -> list[str]:
    """Write down jobs for the runs that have none, and return their names."""
    runs = sweeps.without_job(path)
    if not runs:
        return []
    configs = [read_config(path / "runs" / run) for run in runs]
    groups = groups_of(configs, most)
    found = estimates([(configs[group[0]], len(group)) for group in groups])
    return [
        sweeps.add_job(path, [runs[number] for number in group], estimate)
        for group, estimate in zip(groups, found, strict=True)
    ]
