"""What can go wrong at a boundary, each with the exit code that a script ends with.

Every message is one line: what was given, what was expected, what to do.
"""

import os
import sys
from collections.abc import Mapping, Sequence

INTERRUPTED = 130  # the exit code after a second Ctrl-C


def complain(line: str) -> None:
    """Write one line to standard error, whole between those of other threads, whether or not anybody reads it."""
    try:
        sys.stderr.write(" ".join(line.split()) + "\n")  # print() writes twice where PYTHONUNBUFFERED is set
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (else the exit code would become that of a failed flush)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether Python, or XLA in its own words, says that there is no memory left."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


class UserError(ValueError):
    """A mistake or a condition outside the program: printed as one line, never as a traceback."""

    exit_code = 1


class ConfigError(UserError):
    """A command line or configuration that cannot be run."""

    exit_code = 2


class DataError(UserError):
    """Data that are missing, damaged or out of range."""

    exit_code = 65


class OutputError(UserError):
    """A run folder that cannot be created or written."""

    exit_code = 73


class StorageError(UserError):
    """Reading or writing failed half-way: a full disk, a checkpoint that is damaged."""

    exit_code = 74


class OutOfMemory(StorageError):
    """A run needs more memory than there is: of a sweep, this run alone fails."""


class Preempted(UserError):
    """The run was asked to stop, saved its state and can be resumed by the same command."""

    exit_code = 75


class Diverged(UserError):
    """The loss or a gradient is no longer finite: in `step`, if that is known, with `metrics` of the last steps."""

    exit_code = 76

    def __init__(self, message: str, step: int | None = None, metrics: Mapping[str, Sequence[float]] | None = None):
        super().__init__(message)
        self.step, self.metrics = step, metrics or {}


class NotReproduced(UserError):
    """A run that was run again, and came out otherwise than the promise for it allows."""

    exit_code = 77


class SomeFailed(UserError):
    """A sweep is over, and some of its runs have failed."""

    exit_code = 78
