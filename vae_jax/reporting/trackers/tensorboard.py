"""TensorBoard events in RUN/tensorboard, written without TensorFlow: `tensorboard --logdir=RUN`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from vae_jax.reporting.events import EventFile
from vae_jax.reporting.tracking import Tracker


def make(folder: pathlib.Path, step: int) -> Tracker:
    """Open an event file; of the events of an earlier process, TensorBoard hides those after `step`."""
    import numpy as np
    from PIL import Image
    from tensorboardX import summary

    file = EventFile(folder / "tensorboard", step)

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

    return Tracker(scalars, images, settings, file.close)
