"""Processes on this machine, so many at a time as it has slots and memory for."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from vae_jax.errors import OutputError
from vae_jax.storage import open_in_place, write_text
from vae_jax.sweeps.launchers.task import Task


class _Started(NamedTuple):
    task: Task
    process: subprocess.Popen
    slot: int


class Local:
    """Run tasks as processes of this machine that outlive the driver: when it is killed, nothing is lost.

    The next driver does not see those of a killed one here; the locks that they hold tell it.

    Args:
        slots: how many run at once; by default one for each GPU, and one where there is none, for it uses all cores.
    """

    def __init__(self, slots: int | None = None) -> None:
        self._gpus = gpus(os.environ)
        self._slots = slots or max(len(self._gpus), 1)
        self._started: dict[str, _Started] = {}

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, tasks: Iterable[Task], others: Collection[str] = ()) -> list[str]:
        """Start those tasks for which there is room, and return their names; the others are to be offered again.

        No more tasks are asked for when there is no slot left.

        One must fit into memory beside what those that run were planned to take; one alone is always tried. A task may
        come again after its end has been told. `others` run, which drivers before this one have started, in the slots
        that are written beside their logs.

        Raises:
            OutputError: a log cannot be written, or a process cannot be started.
        """
        names: list[str] = []
        for task in tasks:
            if len(self._alive()) + len(others) >= self._slots:
                break
            if self._room(task, len(others)):
                self._start(task, {_slot_of(task.log.with_name(f"{name}.slot")) for name in others})
                names.append(task.name)
        return names

    def running(self) -> set[str]:
        """Return the names of the tasks that have been submitted and whose end has not been told."""
        return set(self._started)

    def ended(self) -> dict[str, int]:
        """Return the exit codes of the tasks that have ended, each once; -9 is one killed by signal 9."""
        codes = {name: one.process.poll() for name, one in self._started.items()}
        codes = {name: code for name, code in codes.items() if code is not None}
        for name in codes:
            del self._started[name]
        return codes

    def stop(self) -> None:
        """Ask all to save and end, and wait until they have; how they did is told by `ended`."""
        for one in self._alive():
            one.process.terminate()
        for one in self._started.values():
            one.process.wait()

    def _room(self, task: Task, others: int) -> bool:
        alive = self._alive()
        promised = sum(max(one.task.memory_mb - _taken_mb(one.process.pid), 0.0) for one in alive)
        return not (alive or others) or task.memory_mb + promised <= _available_mb()

    def _start(self, task: Task, others: Collection[int | None]) -> None:
        ours = {one.slot for one in self._alive()}
        # Where those of the others are not known, or were of another number of slots, any that is not ours.
        slot = min(set(range(self._slots)) - ours, key=lambda slot: (slot in others, slot))
        try:
            with open_in_place(task.log, "ab") as log:
                write_text(task.log.with_suffix(".slot"), str(slot))
                process = subprocess.Popen(
                    task.command,
                    env={**os.environ, **share(self._gpus, self._slots, slot)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # neither Ctrl-C nor the end of the driver's terminal reaches it
                )
        except OSError as error:
            problem = f"{error.filename or task.command[0]}: {error.strerror}"
            raise OutputError(f"{task.name} cannot be started: {problem}") from error
        self._started[task.name] = _Started(task, process, slot)

    def _alive(self) -> list[_Started]:
        return [one for one in self._started.values() if one.process.poll() is None]


def gpus(environ: Mapping[str, str]) -> list[str]:
    """Return the names by which CUDA_VISIBLE_DEVICES knows the GPUs that this process may use."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name]
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in pathlib.Path("/dev").glob("nvidia*"))
    return [str(index) for index in range(sum(match is not None for match in found))]


def share(gpus: Sequence[str], slots: int, slot: int) -> dict[str, str]:
    """Return the environment that gives a slot its part of the GPUs, or of one GPU where there are more slots."""
    if not gpus or slots == 1:
        return {}
    if slots <= len(gpus):
        each = len(gpus) // slots
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[slot * each :][:each])}
    together = -(-slots // len(gpus))
    return {
        "CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)],
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / together:.3f}",  # each takes this much at its start
    }


def _slot_of(file: pathlib.Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text())
    return None


def _taken_mb(pid: int) -> float:
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has just ended, or there is no /proc
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _available_mb() -> float:
    try:
        text = pathlib.Path("/proc/meminfo").read_text()
    except OSError:  # only Linux tells
        return float("inf")
    return int(re.search(r"MemAvailable:\s+(\d+) kB", text)[1]) / 1024
