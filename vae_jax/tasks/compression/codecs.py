"""Codecs that other people use, on the same pictures: bytes with gzip, bz2 and lzma; PNG, WebP and JPEG.

Picture codecs are measured on files of single pictures, and on sheets that hold many side by side, so that small
pictures share the headers: the second is the fair comparison with a coder of whole sets.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from vae_jax.tasks.compression.lossy import Rate, measure

QUALITIES = (1, 5, 10, 20, 35, 50, 75, 90)
_SIDE = 8192  # of a sheet at most; WebP ends at 16383

_LOSSLESS = {"PNG": {"format": "PNG", "optimize": True}, "WebP": {"format": "WEBP", "lossless": True, "method": 6}}


def lossless_rates(images: np.ndarray) -> dict[str, float]:
    """Return bits/dim of other codecs for uint8 pictures [N,H,W,C], of 0 and 255 only or of any values.

    Pixels of two values are given to gzip, bz2 and lzma as bits, eight in a byte, or as bytes, whichever is smaller,
    and to PNG as pictures of one bit.
    """
    binary = bool(((images == 0) | (images == 255)).all())
    streams = [images.tobytes()] + ([np.packbits(images > 0).tobytes()] if binary else [])
    coders = {"gzip": lambda b: gzip.compress(b, 9), "bz2": lambda b: bz2.compress(b, 9), "lzma": _lzma}
    sizes = {name: min(len(code(stream)) for stream in streams) for name, code in coders.items()}
    if images.shape[-1] in (1, 3):
        for name, options in _LOSSLESS.items():
            sizes[f"{name}, a file each"] = sum(len(_save(image, binary, options)) for image in images)
            sizes[f"{name}, sheets"] = sum(len(_save(sheet, binary, options)) for sheet in sheets(images))
    return {name: 8 * size / images.size for name, size in sizes.items()}


def png_rate(images: np.ndarray) -> float:
    """Return bits/dim of PNG sheets of uint8 pictures [N,H,W,C], C 1 or 3, see `lossless_rates`."""
    binary = bool(((images == 0) | (images == 255)).all())
    return 8 * sum(len(_save(sheet, binary, _LOSSLESS["PNG"])) for sheet in sheets(images)) / images.size


def lossy_rates(images: np.ndarray) -> dict[str, list[Rate]]:
    """Return rate-distortion curves of JPEG and WebP by quality, for uint8 pictures [N,H,W,C]; none for other C."""
    if images.shape[-1] not in (1, 3):
        return {}
    curves = {}
    for name in "JPEG", "WebP":
        for how, pictures in (("a file each", list(images)), ("sheets", sheets(images))):
            codec = f"{name}, {how}"
            curves[codec] = [_lossy(codec, name.upper(), images, pictures, quality) for quality in QUALITIES]
    return curves


def sheets(images: np.ndarray) -> list[np.ndarray]:
    """Lay [N,H,W,C] out side by side in pictures [rows*H, columns*W, C], nearly square, of at most 8192 pixels."""
    count, height, width, channels = images.shape
    columns = max(1, min(math.ceil(math.sqrt(count)), _SIDE // width))
    per_sheet = columns * max(1, _SIDE // height)
    found = []
    for start in range(0, count, per_sheet):
        part = images[start : start + per_sheet]
        rows = -(-len(part) // columns)
        full = np.zeros((rows * columns, height, width, channels), np.uint8)
        full[: len(part)] = part
        grid = full.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
        found.append(grid.reshape(rows * height, columns * width, channels))
    return found


def _cut(sheet: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut a sheet into its pictures [N,H,W,C]."""
    rows, columns, channels = sheet.shape[0] // height, sheet.shape[1] // width, sheet.shape[2]
    grid = sheet.reshape(rows, height, columns, width, channels).swapaxes(1, 2)
    return grid.reshape(-1, height, width, channels)


def _lossy(codec: str, form: str, images: np.ndarray, pictures: Sequence[np.ndarray], quality: int) -> Rate:
    files = [_save(picture, False, {"format": form, "quality": quality}) for picture in pictures]
    again = np.concatenate([_cut(_open(file, images.shape[-1]), *images.shape[1:3]) for file in files])[: len(images)]
    figures = measure(images / 255, again / 255, 8 * sum(map(len, files)))
    return Rate({"codec": codec, "quality": quality, **figures}, again / 255)


def _save(image: np.ndarray, binary: bool, options: dict[str, Any]) -> bytes:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if binary and options["format"] == "PNG" and picture.mode == "L":
        picture = picture.convert("1", dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _open(file: bytes, channels: int) -> np.ndarray:
    picture = Image.open(io.BytesIO(file)).convert("L" if channels == 1 else "RGB")
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def _lzma(content: bytes) -> bytes:
    return lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
