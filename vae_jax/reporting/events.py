"""An event file of TensorBoard, written without TensorFlow."""

from __future__ import annotations

import pathlib
import time
from typing import Any


class EventFile:
    """Write events to a file, each at once.

    The writer that tensorboardX offers hands them to a thread. That dies of a full disk, and then whoever writes waits
    for ever.
    """

    def __init__(self, folder: pathlib.Path, step: int):
        """Open a file for a run that goes on at `step`: of earlier files, TensorBoard hides what is later."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(exist_ok=True)
        # Files are named by the second: the suffix keeps a quick resume from writing over its predecessor's.
        self._event, self._file = Event, EventsWriter(str(folder / "events"), f".{step}")
        if step:
            self._put(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, summary: Any, step: int) -> None:
        """Write a summary, as the functions of `tensorboardX.summary` make it.

        Raises:
            OSError: the disk is full.
        """
        self._put(step=step, summary=summary)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, **content: Any) -> None:
        self._file.write_event(self._event(wall_time=time.time(), **content))
        self._file.flush()
