"""A user's damaged pictures, of any size, and what a model restores of them, though it takes one size only."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vae_jax.data.pictures import fitted, open_picture
from vae_jax.errors import ConfigError, DataError, OutputError
from vae_jax.reporting.figures import as_picture, save_captioned
from vae_jax.storage import replacing

SHEET = "before_after.png"
_CELL = 128  # pixels, of a side of a picture on the sheet, at most
_SHIFTS = (1, 1), (0, 1), (2, 1), (1, 0), (1, 2)  # where the corner of a window lies in a picture padded by a pixel

Restore = Callable[[np.ndarray], np.ndarray]  # pictures [N,h,w,C] of the model's size -> what it makes of them


def check_restores(config: Mapping[str, Any]) -> str:
    """Return the name of the corruption that a run was trained to undo.

    Raises:
        ConfigError: it was trained without one.
    """
    if not config["data"].get("corruption"):
        raise ConfigError(
            "the model of this run was trained without a corruption (data.corruption.name), so it restores nothing; "
            "train a denoising one, such as configs/mnist.py:variant=denoising, or see scripts/reconstruct.py"
        )
    return config["data"]["corruption"]["name"]


def read_own(paths: Sequence[str], channels: int, invert: bool) -> list[np.ndarray]:
    """Return picture files as float32 [H,W,C] in [0, 1], each of its own size, gray or in colour as C says.

    Raises:
        DataError: a file that is missing, damaged or no picture, or another number of channels.
    """
    if channels not in (1, 3):
        raise DataError(f"picture files have 1 or 3 channels, and this model needs {channels}")
    found = []
    for path in paths:
        picture = open_picture(path)
        values = fitted(picture, (picture.height, picture.width, channels), "stretch").astype(np.float32) / 255
        found.append(1 - values if invert else values)
    return found


def files_in(folder: pathlib.Path, paths: Sequence[str]) -> list[pathlib.Path]:
    """Make a folder and return the PNG file in it for each picture, under its own name.

    Raises:
        ConfigError: two pictures, or a picture and the sheet, have the same name, or one would be written over itself.
        OutputError: the folder cannot be made or written.
    """
    files = [folder / f"{pathlib.Path(path).stem}.png" for path in paths]
    taken = {SHEET: "the sheet of all"}
    for path, file in zip(paths, files, strict=True):
        if file.name in taken:
            raise ConfigError(f"{path} and {taken[file.name]} would both be written as {file}; rename one")
        if file.exists() and file.samefile(path):
            raise ConfigError(f"{path} would be written over itself; choose another folder than --out={folder}")
        taken[file.name] = str(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".part").touch()
        (folder / ".part").unlink()
    except OSError as error:
        raise OutputError(f"--out={folder} cannot be written: {error.strerror}") from error
    return files


def save_picture(file: pathlib.Path, picture: np.ndarray) -> None:
    """Write a picture [H,W,C] in [0, 1] as a PNG of 8 bits."""
    with replacing(file) as part:
        as_picture(picture).save(part)


def save_sheet(file: pathlib.Path, rows: Mapping[str, Sequence[np.ndarray]], names: Sequence[str]) -> None:
    """Write rows of pictures of any sizes, one row for each stage, with their names below."""
    pictures = [picture for row in rows.values() for picture in row]
    side = min(_CELL, max(max(picture.shape[:2]) for picture in pictures))
    cells = np.stack([fitted(as_picture(picture), (side, side, 3), "pad") for picture in pictures]) / 255
    captions = [f"{name}, {stage}" for stage in rows for name in names]
    with replacing(file) as part:
        save_captioned(part, cells, captions, len(names))


def by_tiles(restore: Restore, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Restore a picture [H,W,C] in overlapping tiles of `size` (h, w) that are blended smoothly.

    Tiles lie half a tile apart, the last ones at the edge. Where several overlap, theirs is averaged with weights that
    fall linearly from the middle of a tile to its edges. A picture smaller than a tile is continued by reflection.
    A picture of just this size is one tile.
    """
    height, width = picture.shape[:2]
    missing = [(0, max(0, side - length)) for side, length in zip(size, (height, width), strict=True)]
    whole = np.pad(picture, (*missing, (0, 0)), mode="symmetric")
    tops, lefts = (_starts(length, side) for length, side in zip(whole.shape[:2], size, strict=True))
    weight = (_slope(size[0])[:, None] * _slope(size[1]))[..., None]
    total, weights = np.zeros(whole.shape), np.zeros((*whole.shape[:2], 1))
    for top in tops:  # a row of tiles at a time, lest those of a large picture fill the memory
        rows = slice(top, top + size[0])
        restored = restore(np.stack([whole[rows, left : left + size[1]] for left in lefts]))
        for left, tile in zip(lefts, restored, strict=True):
            total[rows, left : left + size[1]] += weight * tile
            weights[rows, left : left + size[1]] += weight
    return (total / weights).astype(picture.dtype)[:height, :width]


def by_shifts(restore: Restore, images: np.ndarray) -> np.ndarray:
    """Average what a model makes of images [N,h,w,C] and of them moved by a pixel up, down, left and right.

    Cycle spinning (Coifman and Donoho 1995): errors that hang on where the picture lies cancel. Edges are repeated.
    """
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    total, count = np.zeros(padded.shape), np.zeros((*padded.shape[1:3], 1))
    for top, left in _SHIFTS:
        window = np.s_[top : top + height, left : left + width]
        total[:, *window] += restore(padded[:, *window])
        count[window] += 1
    return (total / np.maximum(count, 1)).astype(images.dtype)[:, 1:-1, 1:-1]


def as_whole(restore: Restore, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a picture [H,W,C] to `size` (h, w), restore it and bring that back: detail between the sizes is lost."""
    return resized(restore(resized(picture, size)[None])[0], picture.shape[:2])


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a float picture [H,W,C] stretched to `size` (h, w): means over areas when smaller, bicubic when larger."""
    if picture.shape[:2] == tuple(size):
        return picture
    smaller = size[0] <= picture.shape[0] and size[1] <= picture.shape[1]
    method = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(picture, -1, 0)]
    return np.stack([np.asarray(channel.resize((size[1], size[0]), method)) for channel in channels], -1)


def _starts(length: int, side: int) -> list[int]:
    return [*range(0, length - side, max(1, side // 2)), length - side]


def _slope(side: int) -> np.ndarray:
    place = np.arange(side)
    return np.minimum(place + 1, side - place).astype(np.float64)
