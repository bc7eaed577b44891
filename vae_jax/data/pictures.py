"""Picture files of any common format as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

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
        with Image.open(path) as picture:
            if picture.mode in ("RGBA", "LA", "PA"):  # what is transparent shows white paper
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            return np.asarray(picture.convert(mode).resize(size, Image.Resampling.BOX))
    except FileNotFoundError as error:
        raise DataError(f"no picture {path}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture: {str(error).splitlines()[0]}") from error
