"""Anomalies made from normal pictures, to choose a score by without a single real one.

Each function takes pictures [N,H,W,C] in [0, 1] and returns as many that are no longer what they were, though their
pixels and their parts are: shape is what must tell.
"""

from __future__ import annotations

import numpy as np

_SEED = 20210315


def joined(images: np.ndarray) -> np.ndarray:
    """The upper half of one picture and the lower half of the next."""
    half = images.shape[1] // 2
    return np.concatenate([images[:, :half], _next(images)[:, half:]], axis=1)


def pasted(images: np.ndarray) -> np.ndarray:
    """A patch of half the height and width, from anywhere in the next picture, put anywhere (Li et al. 2021)."""
    rng, found = np.random.default_rng(_SEED), images.copy()
    height, width = images.shape[1] // 2, images.shape[2] // 2
    for picture, source in zip(found, _next(images), strict=True):
        top, to = rng.integers(0, images.shape[1] - height + 1, 2)
        left, over = rng.integers(0, images.shape[2] - width + 1, 2)
        picture[to : to + height, over : over + width] = source[top : top + height, left : left + width]
    return found


def turned(images: np.ndarray) -> np.ndarray:
    """Turned upside down (Golan and El-Yaniv 2018 turn by all right angles)."""
    return images[:, ::-1, ::-1]


SYNTHETIC = (joined, pasted, turned)


def _next(images: np.ndarray) -> np.ndarray:
    return np.roll(images, -1, axis=0)
