"""Pictures, labels and codes that a trained model is given: checked as a data set is, and numbered by their content."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from vae_jax.data.dataset import check_unit_range
from vae_jax.errors import ConfigError, DataError


def given_images(images: np.ndarray, shape: Sequence[int], bounded: bool = True) -> np.ndarray:
    """Return pictures [N,H,W,C] as float32.

    Args:
        images: of any kind of float, in [0, 1].
        shape: H, W, C that the model takes.
        bounded: False for damaged pictures, whose values may lie beyond [0, 1].

    Raises:
        DataError: another shape, no floats, a NaN, or values beyond [0, 1].
    """
    found = np.asarray(images)
    if found.ndim != 4 or found.shape[1:] != tuple(shape):
        raise DataError(f"pictures have the shape {found.shape}, and this model takes [N,H,W,C] of {tuple(shape)}")
    if not len(found):
        raise DataError("there is nothing to look at: an array of 0 examples")
    if not np.issubdtype(found.dtype, np.floating):
        raise DataError(f"pictures are {found.dtype}, expected float in [0, 1]; divide them by the value of white")
    with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused as such
        found = found.astype(np.float32, copy=False)
    check_unit_range(found, "pictures", bounded)
    return found


def given_codes(codes: np.ndarray, width: int) -> np.ndarray:
    """Return codes [N,D] as float32.

    Raises:
        DataError: another shape than [N, width], or a value that is not finite.
    """
    found = np.asarray(codes, np.float32)
    if found.ndim != 2 or found.shape[1] != width:
        raise DataError(f"codes have the shape {found.shape}, and this model takes [N, {width}]")
    if not np.isfinite(found).all():
        raise DataError("codes hold values that are NaN or infinite")
    return found


def given_labels(labels: np.ndarray | None, count: int, num_classes: int) -> np.ndarray:
    """Return labels [N] as int32, zeros where there are none.

    Args:
        labels: [N] whole numbers in 0..num_classes-1.
        count: N.
        num_classes: 0 for a model that looks at no labels.

    Raises:
        ConfigError: they are missing, or one is unknown.
        DataError: they are no whole numbers, or not N.
    """
    if labels is None or not num_classes:
        if num_classes:
            raise ConfigError("a conditional model needs the labels of its pictures")
        return np.zeros(count, np.int32)
    found = np.asarray(labels)
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise DataError(f"labels are {found.dtype} of shape {found.shape}, expected ({count},) whole numbers")
    unknown = found[(found < 0) | (found >= num_classes)]
    if unknown.size:
        raise ConfigError(f"label {unknown.min()} is unknown; labels are 0..{num_classes - 1}")
    return found.astype(np.int32)


def numbers_of(images: np.ndarray) -> np.ndarray:
    """Return a number [N] int32 for each picture that depends on its values alone, to key its noise by."""
    return np.array([zlib.crc32(np.ascontiguousarray(image)) & 0x7FFFFFFF for image in images], np.int32)
