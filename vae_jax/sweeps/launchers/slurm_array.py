"""One SLURM array: its settings, its folder, and the script that runs one of its tasks."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import secrets
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from vae_jax.errors import ConfigError, OutputError
from vae_jax.storage import open_in_place, write_json, write_text
from vae_jax.sweeps.launchers.task import Task

_OURS = {"parallel": 0, "requeues": 20, "notice": 60}
_SET_HERE = {
    *("array", "job-name", "output", "error", "open-mode", "requeue", "no-requeue", "signal", "chdir", "wrap", "wait"),
    *("parsable", "test-only", "quiet", "verbose", "help", "usage", "version", "input"),
}

# Only the batch script hears of a time limit, and srun would kill its processes if it were told to end: they are told
# by SLURM. A process that dies of the signal was only just starting.
_SCRIPT = """\
#!/bin/bash
job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID  # $SLURM_JOB_ID is the whole array, in its last task
case $SLURM_ARRAY_TASK_ID in
{cases}
esac
if [ "${{SLURM_NTASKS:-1}}" -gt 1 ] || [ "${{SLURM_JOB_NUM_NODES:-1}}" -gt 1 ]; then
  set -- srun ${{SLURM_CPUS_PER_TASK:+--cpus-per-task=$SLURM_CPUS_PER_TASK}} "$@"
  ask() {{ asked=yes; again=yes; scancel --signal=TERM "$job"; }}
else
  ask() {{ asked=yes; again=yes; kill -TERM "$child"; }}
fi
cd {folder} && rm -f "$SLURM_ARRAY_TASK_ID.exit" && cd "$OLDPWD" || exit 73
"$@" >> "$log" 2>&1 &
child=$! again=yes
trap ask TERM
while [ $again ]; do
  again=
  wait $child
  code=$?
done
[ $asked ] && [ $code = 143 ] && code=75
# SLURM would queue a job again that somebody has just cancelled.
if [ $code = 75 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ] && [ ! -e {folder}/stop ] &&
  [ "$(squeue --noheader --format=%T --job="$job")" = RUNNING ]; then
  scontrol requeue "$job" && exit 75
fi
[ $code -gt 128 ] && code=$((128 - code))
cd {folder} && echo $code > "$SLURM_ARRAY_TASK_ID.part" && mv "$SLURM_ARRAY_TASK_ID.part" "$SLURM_ARRAY_TASK_ID.exit"
"""


class Settings(NamedTuple):
    """How tasks are to run on a cluster."""

    options: tuple[str, ...]  # for sbatch
    parallel: int  # of one array at once; 0: all
    requeues: int  # of one task, before its 75 is told
    notice: int  # seconds from the signal to the time limit


class Element(NamedTuple):
    """A task of an array."""

    folder: pathlib.Path  # of the array
    index: int
    log: pathlib.Path

    @property
    def key(self) -> str:
        """How it is called here."""
        return f"{self.folder.name}_{self.index}"

    def code(self) -> int | None:
        """Return its exit code, where it has left one."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / f"{self.index}.exit").read_text())
        return None

    def keep_words(self) -> None:
        """Append to its log what SLURM has said about it, such as that a time limit has been reached."""
        with contextlib.suppress(OSError):
            words = (self.folder / f"{self.index}.out").read_bytes()
            if words:
                with open_in_place(self.log, "ab") as log:
                    log.write(words)


def read_settings(given: Mapping[str, str]) -> Settings:
    """Return the settings of --slurm name=value; an option without a value, such as exclusive, has an empty one.

    Raises:
        ConfigError: a value is not allowed, or an option is not to be chosen.
    """
    numbers, options = dict(_OURS), []
    for name, value in given.items():
        option = name.replace("_", "-")
        if option in numbers:
            if not value.isdecimal() or (option == "notice" and int(value) < 1):
                raise ConfigError(f"--slurm {name}={value} is not allowed: expected a whole number, such as 20")
            numbers[option] = int(value)
        elif option in _SET_HERE:
            raise ConfigError(f"--slurm {name} is not allowed: the launcher sets it; expected another option of sbatch")
        elif not re.fullmatch("[a-z][a-z-]*", option):
            raise ConfigError(
                f"--slurm {name} is not allowed: expected parallel, requeues, notice or a long option of sbatch"
            )
        else:
            options.append(f"--{option}={value}" if value else f"--{option}")
    return Settings(tuple(options), **numbers)


def create(sweep: pathlib.Path, tasks: Sequence[Task], requeues: int) -> dict[str, Element]:
    """Make the folder of an array of tasks whose logs are in the folder of the sweep, and return them by name.

    Raises:
        OutputError: it cannot be made.
        StorageError: it cannot be written.
    """
    folder = sweep / "slurm" / secrets.token_hex(4)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    elements = {task.name: Element(folder, index, task.log.resolve()) for index, task in enumerate(tasks)}
    cases = (
        f"{elements[task.name].index}) log={shlex.quote(str(elements[task.name].log))}; "
        f"set -- {shlex.join(task.command)} ;;"
        for task in tasks
    )
    script = _SCRIPT.format(cases="\n".join(cases), folder=shlex.quote(str(folder)), requeues=requeues)
    write_text(folder / "array.sh", script)
    _write(folder, sweep, elements)
    return elements


def read_all(sweep: pathlib.Path) -> dict[str, Element]:
    """Return the tasks of all arrays of a sweep whose end has not been told, by name.

    Raises:
        ConfigError: a file is damaged.
    """
    elements = {}
    for file in sorted(sweep.glob("slurm/*/tasks.json")):
        try:
            for name, (index, log) in json.loads(file.read_text()).items():
                elements[name] = Element(file.parent, int(index), (sweep / log).resolve())
                if not elements[name].log.is_relative_to(sweep):
                    raise ValueError(log)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{file} is damaged ({error}): remove its folder; what it names is then queued anew"
            ) from error
    return elements


def forget(sweep: pathlib.Path, elements: Mapping[str, Element], names: Collection[str]) -> dict[str, Element]:
    """Return the tasks without these, and remove the folders of arrays of which none is left."""
    left = {name: element for name, element in elements.items() if name not in names}
    for folder in {elements[name].folder for name in names}:
        rest = {name: element for name, element in left.items() if element.folder == folder}
        if rest:
            _write(folder, sweep, rest)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return left


def _write(folder: pathlib.Path, sweep: pathlib.Path, elements: Mapping[str, Element]) -> None:
    rows = {name: [element.index, str(element.log.relative_to(sweep))] for name, element in elements.items()}
    write_json(folder / "tasks.json", rows)
