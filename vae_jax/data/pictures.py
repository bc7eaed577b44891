"""Picture files of any common format as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae_jax.errors import DataError


def read_pictures(paths: Sequence[str], shape: tuple[int, int, int], invert: bool = False) -> np.ndarray:
    """Return picture files as [N,H,W,C] float32 in [0, 1], resized to `shape`.

    Args:
        paths: files.
        shape: H, W and C; with one channel colours become luminance, with three gray becomes gray in colour.
        invert: return 1 - x.

    Raises:
        DataError: a file that is missing, damaged or no picture, or another number of channels.
    """
    height, width, channels = shape
    mode = {1: "L", 3: "RGB"}.get(channels)
    if mode is None:
        raise DataError(f"picture files have 1 or 3 channels, and this model needs {channels}")
    images = np.stack([_read(path, mode, (width, height)) for path in paths])
    images = images.reshape(-1, *shape).astype(np.float32) / 255
    return 1 - images if invert else images


def _read(path: str, mode: str, size: tuple[int, int]) -> np.ndarray:
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(_eight_bits(file))
            if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:  # it shows white paper
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            return np.asarray(picture.convert(mode).resize(size, Image.Resampling.BOX))
    except FileNotFoundError as error:
        raise DataError(f"no picture {path}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as a picture: {reason}") from error


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit gray, which Pillow itself would cut off at 255."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        return Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError("it has 32 bits per value, of unknown range; save it with 8 or 16")
    return picture
