"""What a launcher runs.

A launcher is a context manager with `submit(tasks, others)`, `running()`, `ended()` and `stop()`, as they are
described in `launchers.local.Local`.
"""

from __future__ import annotations

import pathlib
from typing import NamedTuple


class Task(NamedTuple):
    """A process that is to run to its end once, wherever there is room for it."""

    name: str  # unique in the sweep
    command: tuple[str, ...]
    log: pathlib.Path  # its standard output and error are appended to it
    memory_mb: float = 0.0  # that it is planned to take on its host
