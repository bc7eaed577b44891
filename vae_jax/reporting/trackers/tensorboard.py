"""TensorBoard events in RUN/tensorboard, written without TensorFlow: `tensorboard --logdir=RUN`."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from vae_jax.reporting.tracking import Tracker


def make(folder: pathlib.Path, step: int) -> Tracker:
    """Open an event file; of the events of an earlier process, TensorBoard hides those after `step`."""
    import numpy as np
    from PIL import Image
    from tensorboardX import SummaryWriter

    # Files are named by the second: the suffix keeps a quick resume from writing over its predecessor's.
    purge, suffix = step + 1 if step else None, f".{step}"
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purge, filename_suffix=suffix)

    def scalars(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def images(step: int, files: Mapping[str, pathlib.Path]) -> None:
        for name, path in files.items():
            with Image.open(path) as picture:
                writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def settings(config: Mapping[str, Any]) -> None:
        writer.add_text("config", f"```\n{json.dumps(dict(config), indent=2, default=list)}\n```", step)

    return Tracker(scalars, images, settings, writer.close)
