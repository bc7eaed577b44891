"""TensorBoard events in RUN/tensorboard, written without TensorFlow: `tensorboard --logdir=RUN`."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from vae_jax.reporting.tracking import Tracker
from vae_jax.storage import subfolder


def make(folder: pathlib.Path, step: int) -> Tracker:
    """Open an event file; of the events of an earlier process, TensorBoard hides those after `step`."""
    import numpy as np
    from PIL import Image
    from tensorboardX import summary

    file = _EventFile(folder / "tensorboard", step)

    def scalars(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            file.add(summary.scalar(name, value), step)

    def images(step: int, files: Mapping[str, pathlib.Path]) -> None:
        for name, path in files.items():
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            file.add(summary.image(name, pixels, dataformats="HWC"), step)

    def settings(config: Mapping[str, Any]) -> None:
        file.add(summary.text("config", f"```\n{json.dumps(dict(config), indent=2, default=list)}\n```"), step)

    return Tracker(scalars, images, settings, lambda _: file.close())


class _EventFile:
    """Write events to a file, each at once.

    The writer that tensorboardX offers hands them to a thread. That dies of a full disk, and then whoever writes waits
    for ever.
    """

    def __init__(self, folder: pathlib.Path, step: int):
        """Open a file for a run that goes on at `step`: of earlier files, TensorBoard hides what is later."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        subfolder(folder)
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
