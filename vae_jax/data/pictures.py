"""Picture files of any common format as arrays."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from vae_jax.data.limits import check_pixels, check_regular
from vae_jax.errors import DataError, UserError

SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"]
)  # of files that are taken for pictures in a folder
# No others are tried, whatever a file is called: Pillow would start Ghostscript for some.
_FORMATS = "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"
Image.MAX_IMAGE_PIXELS = None  # `check_pixels` has a limit that can be raised


def read_pictures(
    paths: Sequence[str], shape: tuple[int, int, int], invert: bool = False, data: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Return picture files as [N,H,W,C] float32 in [0, 1], brought to `shape` as the training pictures of a run were.

    Args:
        paths: files.
        shape: H, W and C; with one channel colours become luminance, with three gray becomes gray in colour.
        invert: return 1 - x.
        data: `config.data` of the run; where its source, which has one size, has no `fit`, a picture is stretched.

    Raises:
        DataError: a file that is missing, damaged or no picture, or another number of channels.
    """
    if shape[2] not in (1, 3):
        raise DataError(f"picture files have 1 or 3 channels, and this model needs {shape[2]}")
    fit = (data or {}).get("fit", "stretch")
    images = np.stack([fitted(open_picture(path), shape, fit) for path in paths]).astype(np.float32) / 255
    return 1 - images if invert else images


def picture_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the picture files below a folder, sorted; hidden ones are none.

    Raises:
        DataError: there are none, a folder cannot be read, or links lead to one twice: its pictures would be in several
            splits.
    """
    found: dict[str, pathlib.Path] = {}  # by where it is in truth
    there: dict[str, str] = {}
    for where, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(where)
        if there.setdefault(real, where) != where:
            raise DataError(f"{where} and {there[real]} are the same folder; remove the link")
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and pathlib.PurePath(name).suffix.lower() in SUFFIXES:
                file, target = pathlib.Path(where, name), os.path.join(real, name)
                other = found.setdefault(os.path.realpath(target) if os.path.islink(target) else target, file)
                if other != file:
                    raise DataError(f"{file} and {other} are the same picture; remove the link")
    if not found:
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return sorted(found.values())


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error


def open_picture(file: str | pathlib.Path | BinaryIO, name: str = "") -> Image.Image:
    """Return a picture decoded, upright, with 8 bits and no transparency: mode L where it is gray, else RGB.

    Args:
        file: a path, or an open file.
        name: what to call it in a message, if not by its path.

    Raises:
        DataError: it is missing, damaged or no picture.
    """
    name = name or str(file)
    try:
        if isinstance(file, (str, os.PathLike)):
            check_regular(file)
        with Image.open(file, formats=_FORMATS) as opened:
            check_pixels(*opened.size, name)
            if (frames := getattr(opened, "n_frames", 1)) > 1:
                raise DataError(f"{name} holds {frames} pictures, of which all but one would be lost; split it")
            picture = ImageOps.exif_transpose(_eight_bits(opened))
            gray = _is_gray(picture)
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:  # it shows white paper
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            return picture.convert("L" if gray else "RGB")
    except FileNotFoundError as error:
        raise DataError(f"no picture {name}") from error
    except (MemoryError, UserError):
        raise
    except Exception as error:  # of a damaged file, of its EXIF data too: of at least seven kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} cannot be read as a picture: {reason}") from error


def fitted(picture: Image.Image, shape: tuple[int, int, int], fit: str) -> np.ndarray:
    """Return a picture as uint8 [H,W,C] = `shape`; gray from colour is luminance (Rec. 601).

    Args:
        picture: mode L or RGB.
        shape: H, W, C; C is 1 or 3.
        fit: crop: scale until it covers H x W and cut the rest off on both sides; pad: scale until it lies within and
            put black around; stretch: scale each side by itself. A smaller picture is the mean over areas, a larger
            one is bicubic.
    """
    height, width, channels = shape
    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        scales = width / picture.width, height / picture.height
        scale = {"crop": (max(scales),) * 2, "pad": (min(scales),) * 2, "stretch": scales}[fit]
        size = tuple(max(1, round(side * by)) for side, by in zip(picture.size, scale, strict=True))
        method = Image.Resampling.BOX if max(scale) <= 1 else Image.Resampling.BICUBIC
        picture = picture.resize(size, method)
        left, top = ((side - wanted) // 2 for side, wanted in zip(size, (width, height), strict=True))
        picture = picture.crop((left, top, left + width, top + height))  # beyond the picture it is black
    return np.asarray(picture).reshape(shape)


def _is_gray(picture: Image.Image) -> bool:
    if picture.mode == "P":
        palette = np.array(picture.getpalette("RGB")).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return picture.mode in ("1", "L", "LA")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit gray, which Pillow itself would cut off at 255."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        return Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("it has 32 bits per value, of unknown range; save it with 8 or 16")
    return picture
