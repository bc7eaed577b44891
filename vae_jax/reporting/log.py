"""metrics.jsonl, the truth about a run, and a copy of it for TensorBoard."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from vae_jax.errors import StorageError
from vae_jax.reporting.events import EventFile


class MetricLog:
    """Append rows of deterministic values to metrics.jsonl; times and speeds go to TensorBoard only.

    So the metrics.jsonl of two equal runs are equal byte for byte, interrupted or not. A TensorBoard writer that fails
    is reported once and dropped; it never stops a run.
    """

    def __init__(self, folder: pathlib.Path, step: int):
        """Open the log of a run that goes on at `step`: rows after it are dropped, for they will come again."""
        self.path = folder / "metrics.jsonl"
        kept = [row for row in read_rows(self.path) if row["step"] <= step]
        part = folder / ".metrics.jsonl.part"
        try:
            part.write_text("".join(json.dumps(row) + "\n" for row in kept))
            part.replace(self.path)  # at once: a process killed here loses no row
            self._file = open(self.path, "a")  # noqa: SIM115 (open for the whole run)
        except OSError as error:
            raise StorageError(f"writing {self.path} failed: {error.strerror}") from error
        self._board = _TensorBoard(folder / "tensorboard", step)

    def __enter__(self) -> MetricLog:
        return self

    def __exit__(self, *_: Any) -> None:
        self._board.close()
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
        self._board.write(step, split, {**metrics, **(speed or {})})

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


class _TensorBoard:
    def __init__(self, folder: pathlib.Path, step: int):
        self._writer: Any = None
        try:
            self._writer = EventFile(folder, step)
        except Exception as error:
            self._drop(error)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            try:
                from tensorboardX.summary import scalar

                for name, value in values.items():
                    self._writer.add(scalar(f"{split}/{name}", value), step)
            except Exception as error:
                self._drop(error)

    def close(self) -> None:
        if self._writer is not None:
            try:
                self._writer.close()
            except Exception as error:
                self._drop(error)

    def _drop(self, error: Exception) -> None:
        self._writer = None
        print(f"TensorBoard events are off: {error}", file=sys.stderr)
