"""Luminance and chroma of colour pictures, and a picture put together from them (ITU-R BT.601).

Y = 0.299 R + 0.587 G + 0.114 B, Cb = (B - Y) / 1.772 and Cr = (R - Y) / 1.402 of R, G, B in [0, 1]: Y lies in [0, 1],
Cb and Cr in [-0.5, 0.5].
"""

from __future__ import annotations

import numpy as np

_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
_OF_BLUE, _OF_RED = 2 * (1 - _BLUE), 2 * (1 - _RED)  # 1.772 and 1.402


def luminance(images: np.ndarray) -> np.ndarray:
    """Return Y [N,H,W,1] of pictures [N,H,W,3]."""
    return (images @ np.array([_RED, _GREEN, _BLUE], images.dtype))[..., None]


def chroma(images: np.ndarray) -> np.ndarray:
    """Return Cb and Cr [N,H,W,2] of pictures [N,H,W,3]."""
    y = luminance(images)[..., 0]
    return np.stack([(images[..., 2] - y) / _OF_BLUE, (images[..., 0] - y) / _OF_RED], -1)


def coloured(y: np.ndarray, of_chroma: np.ndarray) -> np.ndarray:
    """Return the pictures [N,H,W,3] in [0, 1] with luminance Y [N,H,W,1] in [0, 1] and this chroma [N,H,W,2].

    Where no colour has both, the chroma is scaled down, Cb and Cr alike, until R, G and B lie in [0, 1]: the luminance
    is kept, and so is the hue. Clipping R, G and B one by one would change both.
    """
    blue, red = of_chroma[..., 0] * _OF_BLUE, of_chroma[..., 1] * _OF_RED
    away = np.stack([red, -(_RED * red + _BLUE * blue) / _GREEN, blue], -1)  # from gray
    room = np.where(away > 0, 1 - y, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(np.abs(away) > room, room / np.abs(away), 1).min(axis=-1, keepdims=True)
    return np.clip(y + scale * away, 0, 1)  # what is cut off is rounding
