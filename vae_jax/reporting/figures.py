"""Pictures that a person looks at, as PNG files."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vae_jax.storage import replacing

_MAX_COLOURS = 20  # that can be told apart in a map
_Line = tuple[Sequence[float], Sequence[float]]  # x values, y values


class Panel(NamedTuple):
    """One of several plots in a picture; both of its axes are logarithmic."""

    x_name: str
    y_name: str
    lines: Mapping[str, _Line]  # by name, drawn with markers
    guides: Mapping[str, _Line] = {}  # thin and dashed: what the lines are to be compared with


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay out [N,H,W,C] pictures in rows of `columns`, one pixel apart on gray: [rows*(H+1)+1, ..., C]."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 0.5, np.float32)
    for i, image in enumerate(images):
        y, x = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        sheet[y : y + height, x : x + width] = image
    return sheet


def save_grid(path: pathlib.Path, images: np.ndarray, columns: int, min_width: int = 640) -> None:
    """Write pictures in [0, 1] (values outside are clipped) as a grid, enlarged by whole factors, without smoothing."""
    sheet = as_picture(tile(images, columns))
    with replacing(path) as part:
        _enlarged(sheet, max(1, -(-min_width // sheet.width))).save(part)


def save_captioned(
    path: pathlib.Path, images: np.ndarray, captions: Sequence[str], columns: int, min_side: int = 64
) -> None:
    """Write pictures [N,H,W,C] as a grid with a line of text under each, the pictures enlarged by whole factors."""
    factor = max(1, -(-min_side // min(images.shape[1:3])))
    font = ImageFont.load_default(12)
    width = max([images.shape[2] * factor, *(int(font.getlength(text)) for text in captions)]) + 8
    height = images.shape[1] * factor + 22
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (image, text) in enumerate(zip(images, captions, strict=True)):
        x, y = (i % columns) * width + 4, (i // columns) * height + 4
        sheet.paste(_enlarged(as_picture(image), factor), (x, y))
        pen.text((x, y + images.shape[1] * factor + 1), text, fill="black", font=font)
    with replacing(path) as part:
        sheet.save(part)


def save_rows(path: pathlib.Path, rows: Sequence[np.ndarray]) -> None:
    """Write rows of pictures below each other, each [N,H,W,C]: originals above reconstructions, say."""
    save_grid(path, np.concatenate(rows), columns=len(rows[0]))


def save_lines(
    path: pathlib.Path,
    lines: Mapping[str, _Line],
    axes_names: Sequence[str],
    log_x: bool = False,
) -> None:
    """Plot named lines, each (x values, y values); a line of one point is a marker."""
    figure, axes = _figure()
    for name, (x, y) in lines.items():
        axes.plot(x, y, label=name, linewidth=1.2, marker="o", markersize=3)
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1], xscale="log" if log_x else "linear")
    axes.legend()
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def save_panels(path: pathlib.Path, panels: Sequence[Panel]) -> None:
    """Plot panels two abreast; the values of x are marked on their axis, which goes by factors of 2."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    rows = -(-len(panels) // 2)
    figure, grid = _figure(rows, 2)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes, panel in zip(grid.flat, panels, strict=False):
        for (name, (x, y)), marker in zip(panel.lines.items(), "osD^v" * len(panel.lines), strict=False):
            axes.plot(x, y, label=name, linewidth=1.2, marker=marker, markersize=4)
        for name, (x, y) in panel.guides.items():
            axes.plot(x, y, label=name, linewidth=1, linestyle="--", color="gray", zorder=1)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        margin = max(1, 10 * low / high) ** 0.5  # a decade at least, so that noise looks small
        axes.set_ylim(low / margin, high * margin)
        axes.set(xlabel=panel.x_name, ylabel=panel.y_name)
        axes.set_xticks(sorted({value for x, _ in panel.lines.values() for value in x}))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(linewidth=0.4, alpha=0.5)
        axes.legend(fontsize="small")
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def save_curves(path: pathlib.Path, rows: Sequence[dict[str, Any]], unit: str) -> None:
    """Plot the training and validation loss of metrics.jsonl over steps."""
    figure, axes = _figure()
    for split in ("train", "validation"):
        points = [(row["step"], row["loss"]) for row in rows if row["split"] == split]
        axes.plot(*zip(*points, strict=True), label=split, linewidth=1.2)
    axes.set(xlabel="step", ylabel=f"loss{unit and f' ({unit.strip()})'}")
    axes.legend()
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def save_latent_map(
    path: pathlib.Path, codes: np.ndarray, labels: np.ndarray | None, axes_names: Sequence[str]
) -> None:
    """Plot codes [N,2], coloured by label [N] where there are labels, and no more than there are colours."""
    if labels is not None and labels.max() >= _MAX_COLOURS:
        labels = None
    figure, axes = _figure()
    points = axes.scatter(*codes.T, c=labels, s=6, cmap=_colours(labels))
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
    if labels is not None:
        axes.legend(*points.legend_elements(num=None), title="label", loc="center left", bbox_to_anchor=(1, 0.5))
    with replacing(path) as part:
        figure.savefig(part, dpi=120)


def as_picture(image: np.ndarray) -> Image.Image:
    """Turn [H,W,C] in [0, 1] into a picture; of 2 channels the third is black, of more than 3 the rest is left out."""
    values = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    if values.shape[-1] == 2:
        values = np.concatenate([values, np.zeros_like(values[..., :1])], -1)
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values[..., :3])


def _enlarged(picture: Image.Image, factor: int) -> Image.Image:
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _colours(labels: np.ndarray | None) -> str | None:
    return None if labels is None else "tab10" if labels.max() < 10 else "tab20"


def _figure(rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    # Figure rather than pyplot: no global state, no display, one second less to import.
    from matplotlib.figure import Figure

    # In inches; each of several plots is smaller than one alone.
    figure = Figure(figsize=(5 * columns, 4 * rows) if rows * columns > 1 else (7, 5), layout="constrained")
    return figure, figure.subplots(rows, columns)
