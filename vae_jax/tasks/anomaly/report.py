"""What a person looks at of one-class detection: the table, and the pictures at both ends of the scores."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax.evaluation.detection import roc_curve
from vae_jax.reporting.figures import save_grid, save_lines
from vae_jax.storage import subfolder

_SHOWN = 6  # pictures of each kind and class
_MAX_CLASSES = 20  # that are shown
_POINTS = np.linspace(0, 1, 101)  # false alarm rates at which the curves are drawn


def table(results: Mapping[str, Any]) -> str:
    """Return the figures of all scores as aligned lines, in percent; the chosen score has a star."""
    classes = results["scores"][results["chosen"]]["classes"]
    head = ["score", "AUROC", "95 % interval", "AUPR", "FPR95", "synthetic", *map(str, range(len(classes)))]
    rows = [head]
    for name, figures in sorted(results["scores"].items(), key=lambda item: -item[1]["mean"]["auroc"]):
        mean, synthetic = figures["mean"], results["synthetic_auroc"].get(name)
        low, high = mean["auroc_95"]
        star = " *" if name == results["chosen"] else ""
        row = [name + star, _percent(mean["auroc"], 2), f"{_percent(low, 2)}..{_percent(high, 2)}"]
        row += [_percent(mean["aupr"]), _percent(mean["fpr_at_95_tpr"])]
        row += ["" if synthetic is None else f"{synthetic:.1f}"]
        rows.append(row + [_percent(one["auroc"]) for one in figures["classes"]])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    mean = results["scores"][results["chosen"]]["mean"]
    alarms, caught = _percent(mean["flagged_normal"]), _percent(mean["flagged_anomalies"])
    lines += [f"* best on synthetic anomalies; its threshold flags {alarms} % of normal, {caught} % of other pictures"]
    return "\n".join(line.rstrip() for line in lines)


def draw(
    folder: pathlib.Path, name: str, scores: Sequence[np.ndarray], pictures: np.ndarray, labels: np.ndarray
) -> list[pathlib.Path]:
    """Write one_class.png and roc.png and return their paths.

    Each row of one_class.png is a class: its test pictures that look most normal, those of its own that look most
    anomalous, and those of other classes that look most normal.

    Args:
        folder: made if need be.
        name: of the score.
        scores: of the test pictures by the model of each class, each [N].
        pictures: the test pictures [N,H,W,C].
        labels: [N].
    """
    subfolder(folder)
    rows, lines = [], {}
    for number, values in enumerate(scores[:_MAX_CLASSES]):
        ranked = np.argsort(values, kind="stable")
        own, other = ranked[labels[ranked] == number], ranked[labels[ranked] != number]
        gap = np.full((1, *pictures.shape[1:]), 0.5, np.float32)
        parts = [pictures[_few(own)], gap, pictures[_few(own[::-1])], gap, pictures[_few(other)]]
        rows.append(np.concatenate(parts))
        lines[f"class {number}"] = _POINTS, np.interp(_POINTS, *roc_curve(values, labels != number))
    save_grid(folder / "one_class.png", np.concatenate(rows), len(rows[0]))
    save_lines(folder / "roc.png", lines, ("share of normal pictures flagged", f"share of anomalies found ({name})"))
    return [folder / "one_class.png", folder / "roc.png"]


def _few(index: np.ndarray) -> np.ndarray:
    return np.resize(index, _SHOWN)


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"
