"""Progress of a run: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """Show the loss in its unit, images per second and the time left. Use as a context manager."""

    def __init__(self, total_steps: int, step: int, images_per_step: int, line_every_seconds: float = 10.0):
        self.total, self.first, self.per_step = total_steps, step, images_per_step
        self.started = self.last_line = time.monotonic()
        self.every = line_every_seconds
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stdout.isatty():
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
                BarColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Bar(*columns, TimeRemainingColumn())
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, completed=self.first)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, text: str) -> None:
        """Report that `step` steps are done; `text` holds the losses."""
        now = time.monotonic()
        speed = (step - self.first) * self.per_step / max(now - self.started, 1e-9)
        described = f"{text}  {speed:,.0f} images/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=described)
        elif now - self.last_line >= self.every or step == self.total:
            self.last_line = now
            left = (self.total - step) * self.per_step / max(speed, 1e-9)
            say(f"step {step}/{self.total}  {described}  {left:.0f} s left")


def say(line: str) -> None:
    """Print a line at once; a reader who has gone away (`| head`) stops nothing."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115 (until the process ends)
