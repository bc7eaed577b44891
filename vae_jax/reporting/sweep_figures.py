"""Pictures of a sweep: how a figure depends on what was varied."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax.storage import replacing

Column = Sequence[Any]  # numbers, text or None, one for each run


def save_effect(
    path: pathlib.Path, values: Column, means: Sequence[float], errors: Sequence[float | None], names: tuple[str, str]
) -> None:
    """Draw means with their standard errors over the values of one field; `names` are those of field and figure."""
    figure, axes = _figure(6, 4)
    places, ticks, logarithmic = _scale(values)
    order = np.argsort(places)
    bars = np.array([error or 0.0 for error in errors])[order]
    axes.errorbar(places[order], np.array(means)[order], bars, marker="o", capsize=4)
    if logarithmic:
        axes.set_xscale("log")
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks, rotation=30, ha="right")
    _finish(figure, axes, path, names)


def save_heat_map(
    path: pathlib.Path, across: Column, down: Column, means: Sequence[float], names: tuple[str, str, str]
) -> None:
    """Draw the mean figure of every pair of values of two fields; `names` are those of both and of the figure."""
    columns, rows = _levels(across), _levels(down)
    cells = np.full((len(rows), len(columns)), np.nan)
    for x, y, mean in zip(across, down, means, strict=True):
        cells[rows.index(y), columns.index(x)] = mean
    figure, axes = _figure(1.5 + 0.9 * len(columns), 1.5 + 0.5 * len(rows))
    image = axes.imshow(cells, aspect="auto", cmap="viridis")
    figure.colorbar(image, label=names[2])
    axes.set_xticks(range(len(columns)), [_short(value) for value in columns], rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), [_short(value) for value in rows])
    middle = np.nanmean([np.nanmin(cells), np.nanmax(cells)])
    for (i, j), value in np.ndenumerate(cells):
        if np.isfinite(value):
            ink = "white" if value < middle else "black"
            axes.text(j, i, f"{value:.4g}", ha="center", va="center", color=ink, fontsize=8)
    _finish(figure, axes, path, names[:2])


def save_parallel(path: pathlib.Path, fields: Mapping[str, Column], values: Sequence[float], name: str) -> None:
    """Draw a line for each run through its value of each field to its figure, coloured by the figure, low ones last."""
    figure, axes = _figure(2 + 1.6 * (len(fields) + 1), 4.5)
    heights = np.stack([_height(axes, i, column) for i, column in enumerate([*fields.values(), values])])
    figures = np.asarray(values, float)
    colours = _map()(heights[-1])
    for run in np.argsort(-figures):
        axes.plot(heights[:, run], color=colours[run], linewidth=1.2, alpha=0.8)
    for i in range(len(heights)):
        axes.axvline(i, color="black", linewidth=0.6)
    axes.set_xticks(range(len(heights)), [*fields, name], rotation=15)
    axes.set_yticks([])
    axes.set_xlim(-0.3, len(heights) - 0.4)
    _finish(figure, axes, path, ("", ""))


def _height(axes: Any, place: int, column: Column) -> np.ndarray:
    """Return where each value of an axis of `save_parallel` is, from 0 to 1, and write its ends or its levels down."""
    places, ticks, logarithmic = _scale(column)
    places = np.log(places) if logarithmic else places
    low, span = places.min(), max(np.ptp(places), 1e-12)
    heights = (places - low) / span if np.ptp(places) else np.full(len(places), 0.5)
    marks = list(zip(ticks, np.linspace(0, 1, len(ticks)), strict=True)) if len(ticks) > 1 else []
    if not ticks:
        numbers = sorted({float(value) for value in column})
        shown = numbers if len(numbers) <= 8 else [numbers[0], numbers[-1]]
        marks = [(_short(v), heights[[float(value) for value in column].index(v)]) for v in shown]
    free = -1.0  # what is nearer to another one would be written over it
    for text, height in sorted(marks, key=lambda mark: mark[1]) or [(ticks[0], 0.5)]:
        if height < free:
            continue
        free = height + 0.04
        axes.annotate(text, (place, height), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center")
    return heights


def _scale(column: Column) -> tuple[np.ndarray, list[str], bool]:
    """Return the place of each value on an axis, its ticks if the values are no numbers, and if it is logarithmic."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in column):
        levels = _levels(column)
        return np.array([levels.index(value) for value in column], float), [_short(value) for value in levels], False
    numbers = np.array(column, float)
    return numbers, [], bool(numbers.min() > 0 and numbers.max() / numbers.min() > 20)


def _levels(column: Column) -> list[Any]:
    """Return the values there are: numbers in order, and others as they come."""
    found = []
    for value in column:
        if value not in found:
            found.append(value)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)
    return sorted(found) if numbers else found


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _map() -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis_r"]


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    return figure, figure.add_subplot()


def _finish(figure: Any, axes: Any, path: pathlib.Path, names: Sequence[str]) -> None:
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    with replacing(path) as part:
        figure.savefig(part, dpi=120)
