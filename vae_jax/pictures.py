"""The pictures of a run: reconstructions, samples, loss curves, the latent space and a walk through it."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from vae_jax.evaluation.baselines import Pca
from vae_jax.reporting.figures import save_curves, save_grid, save_latent_map, save_lines, save_rows
from vae_jax.storage import subfolder
from vae_jax.trained import Trained

_SIDE = 15  # pictures along each side of the walk
_MAX_CLASSES = 20  # that are shown of a conditional model
_BALANCE = {"convergence": "M", "k": "k", "diversity": "diversity"}  # of two players: metrics and their names


def save_pictures(
    folder: pathlib.Path,
    trained: Trained,
    pca: Pca,
    test: Mapping[str, np.ndarray],
    labelled: bool,
    rows: Sequence[dict[str, Any]],
    unit: str,
) -> list[pathlib.Path]:
    """Write all pictures of a finished run and return their paths.

    Args:
        folder: made if need be.
        trained: the selected model.
        pca: the baseline, shown below the model's reconstructions.
        test: a batch of the test split: image, input, label.
        labelled: whether the labels mean anything.
        rows: of metrics.jsonl.
        unit: of the loss, such as ' nats'.
    """
    subfolder(folder)
    labels = test["label"] if trained.conditional else None
    codes = trained.encode(test["input"], labels)
    few = {name: value[:16] for name, value in test.items()}
    shown = [few["image"]] if np.array_equal(few["input"], few["image"]) else [few["image"], few["input"]]
    model_rows = [trained.decode(codes[:16], labels if labels is None else labels[:16]), pca.reconstruct(few["input"])]
    save_rows(folder / "reconstructions.png", [*shown, *model_rows])
    save_curves(folder / "loss.png", rows, unit)
    first, second = _widest(codes)
    names = [f"z[{i}]" for i in (first, second)]
    save_latent_map(folder / "latent_map.png", codes[:, [first, second]], test["label"] if labelled else None, names)
    save_grid(folder / "latent_walk.png", _walk(trained, codes, first, second), _SIDE)
    written = ["reconstructions.png", "loss.png", "latent_map.png", "latent_walk.png"]
    if trained.model.sample is not None:
        columns = min(trained.spec.num_classes, _MAX_CLASSES) if trained.conditional else 10
        save_grid(folder / "samples.png", trained.sample(10 * columns), columns)
        written.append("samples.png")
    train = [row for row in rows if row["split"] == "train"]
    if "convergence" in train[-1]:
        steps = [row["step"] for row in train]
        lines = {label: (steps, [row[name] for row in train]) for name, label in _BALANCE.items()}
        save_lines(folder / "balance.png", lines, ("step", ""))
        written.append("balance.png")
    return [folder / name for name in written]


def _widest(codes: np.ndarray) -> tuple[int, int]:
    """Return the two latents whose mean varies most, in order; the same one twice where there is only one."""
    order = np.argsort(-codes.var(axis=0))
    first, second = sorted(order[:2]) if len(order) > 1 else (0, 0)
    return int(first), int(second)


def _walk(trained: Trained, codes: np.ndarray, first: int, second: int) -> np.ndarray:
    """Decode a grid over two latents, the others at rest: prior quantiles for a VAE, those of the codes otherwise.

    A conditional model walks over one latent and its labels. A model whose samples are not decoded codes walks between
    samples.
    """
    if trained.model.generate is not None:
        return _between_samples(trained)
    levels = np.linspace(0.03, 0.97, _SIDE)
    if trained.model.sample is not None:
        x = y = np.array([NormalDist().inv_cdf(level) for level in levels])
        rest = np.zeros(codes.shape[1])
    else:
        x, y = (np.quantile(codes[:, i], levels) for i in (first, second))
        rest = codes.mean(axis=0)
    rows = np.arange(min(trained.spec.num_classes, _MAX_CLASSES)) if trained.conditional else y[::-1]
    z = np.tile(rest, (len(rows), _SIDE, 1)).astype(np.float32)
    z[:, :, first] = x[None]
    if trained.conditional:
        return trained.decode(z.reshape(-1, z.shape[-1]), np.repeat(rows, _SIDE))
    z[:, :, second] = rows[:, None]
    return trained.decode(z.reshape(-1, z.shape[-1]))


def _between_samples(trained: Trained) -> np.ndarray:
    """Generate a grid between four draws of z ~ N(0, I) at the corners, or between two for each label.

    The squares of the weights sum to 1, so that every point in between is a draw of N(0, I) as well.
    """
    corners = np.random.default_rng(0).standard_normal((2, 2, trained.config["model"]["latent"]))
    across = _cos_sin(_SIDE)
    if trained.conditional:
        count = min(trained.spec.num_classes, _MAX_CLASSES)
        z = np.tile(across @ corners[0], (count, 1))
        return trained.generate(z, np.repeat(np.arange(count), _SIDE))
    z = np.einsum("ya,xb,abd->yxd", across, across, corners)
    return trained.generate(z.reshape(-1, z.shape[-1]))


def _cos_sin(count: int) -> np.ndarray:
    angle = np.linspace(0, math.pi / 2, count)
    return np.stack([np.cos(angle), np.sin(angle)], 1)
