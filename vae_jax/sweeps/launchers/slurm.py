"""Tasks on a SLURM cluster, as elements of arrays.

SLURM knows each array by a name that no other has, and what is in it is in a folder of that name: so whenever a driver
is killed, in the middle of a submission too, the next one finds all that is queued, runs or has ended. Exit codes come
from files, for not every cluster keeps accounts.

Submitit 1.5.4 is not used. Each of its jobs unpickles a file of the folder whenever it starts; these files are moved
into place after `sbatch`, so that a driver killed in between leaves jobs that nobody knows and that fail; and a job is
queued again at a signal of its own only, not when it ends with 75.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from vae_jax.errors import ConfigError, Preempted
from vae_jax.reporting.progress import say
from vae_jax.sweeps.launchers import slurm_array
from vae_jax.sweeps.launchers.task import Task

ASK_SECONDS = 10.0  # from one question to SLURM to the next
LOST_SECONDS = 60.0  # storage on a network may take so long to show the exit code that another machine has written
LARGEST = 1000  # array that SLURM takes by default
_PREFIX = "vae_jax-"
_OVER = {  # states in which squeue shows jobs for some minutes after their end
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
}


class _Shown(NamedTuple):
    job: str  # as scancel knows it
    state: str


class Slurm:
    """Run tasks on a cluster. The methods are those of `launchers.local.Local`, and these the differences:

    A task that ends with 75 (it was asked to stop, and can be resumed) is queued again; so is one that is preempted or
    comes to its time limit, which SIGTERM announces. One that is cancelled while it runs ends with -15, and one that is
    gone without a word, for its node died, with -9. Those of an earlier driver are known: `running` has them.

    Args:
        sweep: its folder; logs of tasks are to be in it. What is kept here is in its folder slurm/.
        settings: options of sbatch, such as partition, time, gres, mem; with ntasks or nodes above 1 srun starts the
            command, as processes of one run. Beside them `parallel`: how many tasks of an array run at once (0: all);
            `requeues`: how often one is queued again before its 75 is told; `notice`: seconds before the time limit.

    Raises:
        ConfigError: there is no SLURM here, or it refuses the settings.
    """

    def __init__(self, sweep: pathlib.Path, settings: Mapping[str, str]) -> None:
        self._sweep = sweep.resolve()
        self._settings = slurm_array.read_settings(settings)
        refused = self._sbatch("--test-only", "--wrap=true")
        if refused:
            raise ConfigError(f"SLURM refuses what --slurm says: {refused}")
        self._elements = slurm_array.read_all(self._sweep)
        self._queue: dict[str, _Shown] | None = None  # of SLURM; None: it does not answer
        self._asked_at = float("-inf")
        self._gone_since: dict[str, float] = {}  # from the queue, without an exit code
        self._stopped = False

    def __enter__(self) -> Slurm:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, tasks: Iterable[Task], others: Collection[str] = ()) -> list[str]:
        """Queue all the tasks, as one array, and return their names; SLURM itself finds room beside `others`.

        Raises:
            ConfigError: SLURM refuses them.
            OutputError: their folder cannot be made.
        """
        del others
        tasks = list(tasks)
        for start in range(0, len(tasks), LARGEST):
            new = slurm_array.create(self._sweep, tasks[start : start + LARGEST], self._settings.requeues)
            folder = next(iter(new.values())).folder
            refused = self._sbatch(
                f"--job-name={_PREFIX}{folder.name}",
                f"--array=0-{len(new) - 1}" + (f"%{self._settings.parallel}" if self._settings.parallel else ""),
                f"--output={folder}/%a.out",
                f"--signal=B:TERM@{self._settings.notice}",
                *("--requeue", "--open-mode=append", f"{folder}/array.sh"),
            )
            self._ask()
            # An answer that did not come in time says nothing: what is not in the queue later is lost, and told so.
            if refused and self._queue is not None and not {one.key for one in new.values()} & self._queue.keys():
                shutil.rmtree(folder)
                raise ConfigError(f"SLURM refuses {', '.join(new)}: {refused}")
            self._elements |= new
        return [task.name for task in tasks]

    def running(self) -> set[str]:
        """Return the names of the tasks that have been submitted, by earlier drivers too, and whose end is not told."""
        return set(self._elements)

    def ended(self) -> dict[str, int]:
        """Return the exit codes of the tasks that have ended, each once; -9 is one killed by signal 9, or lost."""
        if time.monotonic() - self._asked_at >= ASK_SECONDS:
            self._ask()
        codes = {name: self._code(element) for name, element in self._elements.items()}
        codes = {name: code for name, code in codes.items() if code is not None}
        for name, code in codes.items():
            if code < 0:
                self._elements[name].keep_words()
            self._gone_since.pop(self._elements[name].key, None)
        self._elements = slurm_array.forget(self._sweep, self._elements, codes)
        return codes

    def stop(self) -> None:
        """Ask all to save and end, and wait until they have; what had not begun ends with 75 as well."""
        self._stopped = True
        for folder in {element.folder for element in self._elements.values()}:
            (folder / "stop").touch()  # none of them is queued again
        asked: set[str] = set()
        self._ask()
        while self._queue is None or (shown := self._ours()):
            if self._queue is not None:
                waiting = {one.job for one in shown if one.state == "PENDING"}
                begun = {one.job for one in shown if one.state == "RUNNING"} - asked
                for jobs, how in (waiting, ()), (begun, ("--batch", "--signal=TERM")):
                    if jobs:
                        _call("scancel", *how, *jobs)
                asked |= begun
            time.sleep(1)
            self._ask()

    def _ours(self) -> list[_Shown]:
        shown = (self._queue[one.key] for one in self._elements.values() if one.key in self._queue)
        return [one for one in shown if one.state not in _OVER]

    def _code(self, element: slurm_array.Element) -> int | None:
        """Return the exit code of a task, None while it is queued, runs or may still leave one."""
        state = self._queue[element.key].state if self._queue and element.key in self._queue else "GONE"
        if self._queue is None or state not in {*_OVER, "GONE"}:  # first of all: what is queued again has a code too
            self._gone_since.pop(element.key, None)
            return None
        code = element.code()
        if code is None and self._stopped:
            return Preempted.exit_code
        if state == "CANCELLED" and code in (None, Preempted.exit_code) and not self._stopped:
            return -signal.SIGTERM
        gone_for = time.monotonic() - self._gone_since.setdefault(element.key, time.monotonic())
        return -signal.SIGKILL if code is None and gone_for >= LOST_SECONDS else code

    def _ask(self) -> None:
        """Ask SLURM for its queue."""
        answer, problem = _call("squeue", "--me", "--array", "--noheader", "--states=all", "--format=%j|%K|%F_%K|%T")
        if problem and self._queue is not None:
            say(f"SLURM does not answer ({problem}); waiting until it does")
        rows = [line.split("|") for line in answer.splitlines() if line.startswith(_PREFIX)]
        queue = {f"{name.removeprefix(_PREFIX)}_{index}": _Shown(job, state) for name, index, job, state in rows}
        self._queue = None if problem else queue
        self._asked_at = time.monotonic()

    def _sbatch(self, *arguments: str) -> str:
        """Submit, and return SLURM's words where it refuses."""
        return _call("sbatch", *self._settings.options, *arguments)[1]


def _call(*command: str) -> tuple[str, str]:
    """Return what a command of SLURM says, and its complaint if it fails."""
    # A driver that is itself a job hands nothing of that down: its tasks would take it for their own.
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("SLURM_") or name == "SLURM_CONF"
    }
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no SLURM here: {command[0]} is not found; use the local launcher") from error
    except subprocess.TimeoutExpired:
        return "", "no word for 60 s"
    complaint = done.stderr.strip().rpartition("\n")[2] or f"{command[0]} has ended with {done.returncode}"
    return done.stdout, complaint if done.returncode else ""
