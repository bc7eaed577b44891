"""metrics.jsonl, the truth about a run, and copies of it for trackers."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vae_jax.config import to_json
from vae_jax.config_rules import flatten
from vae_jax.errors import INTERRUPTED, StorageError
from vae_jax.reporting.tracking import open_trackers


class MetricLog:
    """Append rows of deterministic values to metrics.jsonl; times and speeds go to trackers only.

    So the metrics.jsonl of two equal runs are equal byte for byte, interrupted or not. Trackers are called in the
    background, and one that fails is reported once and dropped; it never stops a run.
    """

    def __init__(self, folder: pathlib.Path, step: int, trackers: Sequence[str] = ("tensorboard",)):
        """Open the log of a run that goes on at `step`: rows after it are dropped, for they will come again.

        Args:
            folder: of the run.
            step: that it goes on at.
            trackers: names in reporting/trackers.
        """
        self.path = folder / "metrics.jsonl"
        kept = [row for row in read_rows(self.path) if row["step"] <= step]
        part = folder / ".metrics.jsonl.part"
        try:
            part.write_text("".join(json.dumps(row) + "\n" for row in kept))
            part.replace(self.path)  # at once: a process killed here loses no row
            self._file = open(self.path, "a")  # noqa: SIM115 (open for the whole run)
        except OSError as error:
            raise StorageError(f"writing {self.path} failed: {error.strerror}") from error
        self._trackers = open_trackers(trackers, folder, step)

    def __enter__(self) -> MetricLog:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, _: Any) -> None:
        self.end(error)
        self._trackers.close()
        with contextlib.suppress(OSError):  # what could not be flushed was reported by `write`
            self._file.close()

    def write(
        self, step: int, split: str, metrics: Mapping[str, float], speed: Mapping[str, float] | None = None
    ) -> None:
        """Append one row.

        Raises:
            StorageError: the disk is full, or the file is no longer there.
        """
        self._put({"step": step, "split": split, **metrics})
        values = {**metrics, **(speed or {})}
        self._trackers.scalars(step, {f"{split}/{name}": value for name, value in values.items()})

    def end(self, error: BaseException | None = None) -> None:
        """Tell the trackers that the run has ended, and by which error, if any; do not wait for them."""
        code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
        self._trackers.end(0 if error is None else getattr(error, "exit_code", code))

    def settings(self, config: Mapping[str, Any]) -> None:
        """Tell the trackers the resolved config of the run."""
        self._trackers.settings(dict(flatten(json.loads(to_json(config)))))

    def results(self, step: int, figures: Mapping[str, Any], pictures: Iterable[pathlib.Path]) -> None:
        """Tell the trackers the figures of a finished run, in groups as in results.json, and its pictures."""
        numbers = {name: value for name, value in flatten(figures) if isinstance(value, (int, float))}
        self._trackers.scalars(step, {name.replace(".", "/"): value for name, value in numbers.items()})
        self._trackers.images(step, {path.stem: path for path in pictures})

    def _put(self, row: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
            if not os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno())):  # deleted files can be written
                raise FileNotFoundError(errno.ENOENT, "it has been replaced by another file")
        except OSError as error:
            raise StorageError(f"writing {self.path} failed: {error.strerror}") from error


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl; a last line that a killed process left half-written is not one.

    Raises:
        StorageError: another line is damaged.
    """
    rows, lines = [], path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            if number < len(lines):
                raise StorageError(
                    f"{path}, line {number} is damaged; restore the file, or start anew elsewhere"
                ) from error
    return rows
