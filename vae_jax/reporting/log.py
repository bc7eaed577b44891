"""metrics.jsonl, the truth about a run, and copies of it for trackers."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vae_jax.config import to_json
from vae_jax.config_rules import flatten
from vae_jax.errors import INTERRUPTED, StorageError
from vae_jax.reporting.tracking import open_trackers
from vae_jax.storage import open_in_place, write_text

Mark = tuple[int, str]  # a step, and the SHA-256 of all rows up to it

_MARKS = 50  # of the latest saves; so that it is known which rows are damaged


class MetricLog:
    """Append rows of deterministic values to metrics.jsonl; times and speeds go to trackers only.

    So the metrics.jsonl of two equal runs are equal byte for byte, interrupted or not. Trackers are called in the
    background, and one that fails is reported once and dropped; it never stops a run.
    """

    def __init__(
        self, folder: pathlib.Path, step: int, trackers: Sequence[str] = ("tensorboard",), marks: Sequence[Mark] = ()
    ):
        """Open the log of a run that goes on at `step`: rows after it are dropped, for they will come again.

        Args:
            folder: of the run.
            step: that it goes on at.
            trackers: names in reporting/trackers.
            marks: what `mark` returned when `step` was saved.

        Raises:
            StorageError: the rows up to `step` are not those that were written; or the disk is full.
        """
        self.path = folder / "metrics.jsonl"
        kept = "".join(map(_line, _whole_rows(self.path, step, marks)))
        self._marks, self._sha256 = list(marks), hashlib.sha256(kept.encode())
        write_text(self.path, kept)  # at once: a process killed here loses no row
        try:
            self._file = open_in_place(self.path, "a")
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

    def mark(self, step: int) -> list[Mark]:
        """Wait until all rows are on disk, and return what tells of them later whether they are still whole.

        Raises:
            StorageError: the disk is full.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"writing {self.path} failed: {error.strerror}") from error
        self._marks = [*self._marks, (step, self._sha256.hexdigest())][-_MARKS:]
        return self._marks

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
            self._file.write(line := _line(row))
            self._file.flush()
            self._sha256.update(line.encode())
            if not os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno())):  # deleted files can be written
                raise FileNotFoundError(errno.ENOENT, "it has been replaced by another file")
        except OSError as error:
            raise StorageError(f"writing {self.path} failed: {error.strerror}") from error


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _whole_rows(path: pathlib.Path, step: int, marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """Return the rows up to a step, compared with all marks of it and before it.

    Raises:
        StorageError: naming the steps between which a row was changed, lost or doubled.
    """
    rows = [row for row in read_rows(path) if row["step"] <= step]
    digest, count, good = hashlib.sha256(), 0, 0
    for marked, expected in marks:
        while count < len(rows) and rows[count]["step"] <= marked:
            digest.update(_line(rows[count]).encode())
            count += 1
        if digest.hexdigest() != expected:
            raise StorageError(
                f"{path} is not what the run has written: a row after step {good} and up to step {marked} was changed, "
                "lost or doubled; put the file back, or start anew elsewhere"
            )
        good = marked
    return rows


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl; a last line that a killed process left half-written is not one.

    Raises:
        StorageError: another line is damaged.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            if number < len(lines):
                step = rows[-1].get("step", 0) if rows else 0
                raise StorageError(
                    f"{path}, line {number}, after step {step}, is damaged; put the file back, or start anew elsewhere"
                ) from error
    return rows
