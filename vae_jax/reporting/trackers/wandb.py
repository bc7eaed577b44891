"""Weights & Biases, the extra [wandb]; WANDB_MODE, WANDB_PROJECT and the like say how and where it logs."""

from __future__ import annotations

import pathlib
import secrets
from collections.abc import Mapping
from typing import Any

from vae_jax.reporting.tracking import Tracker
from vae_jax.storage import write_text

_SECONDS = 20.0  # that the server may take to answer


def make(folder: pathlib.Path, step: int) -> Tracker:  # noqa: ARG001 (W&B keeps the rows it has; see below)
    """Open the run whose id is in RUN/wandb.id, or begin one.

    W&B takes no row of a step before its last one, so of rows that come again after a resume it keeps the first, which
    is the same. Offline (WANDB_MODE=offline) each resume writes a folder of its own in RUN/wandb, rows that come again
    included; `wandb sync` sends them to the one run.
    """
    import wandb

    if wandb.setup().settings.mode == "online" and not wandb.api.api_key:
        raise RuntimeError("no account: type `wandb login`, or set WANDB_MODE=offline")  # else it asks on a terminal
    path = folder / "wandb.id"
    name = path.read_text().strip() if path.exists() else ""
    if not name:
        name = secrets.token_hex(8)
        write_text(path, name)
    settings_ = wandb.Settings(console="off", silent=True, init_timeout=_SECONDS)
    # One process may have several runs open, those of a sweep.
    run = wandb.init(id=name, name=folder.name, dir=folder, resume="allow", reinit="create_new", settings=settings_)

    def scalars(step: int, values: Mapping[str, float]) -> None:
        run.log(dict(values), step=step)

    def images(step: int, files: Mapping[str, pathlib.Path]) -> None:
        run.log({name: wandb.Image(str(path)) for name, path in files.items()}, step=step)

    def settings(config: Mapping[str, Any]) -> None:
        run.config.update(dict(config), allow_val_change=True)

    return Tracker(scalars, images, settings, run.finish)  # by its exit code W&B tells who has failed
