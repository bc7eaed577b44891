"""dSprites (Matthey et al. 2017) drawn again: 737280 binary 64x64 pictures of a square, an ellipse or a heart.

The originals were rasterised by a graphics card from polygons (LOVE framework, no antialiasing), and so are these: the
canvas is 1 wide, the centre lies at 1/4 + 1/2 position, and with r = 0.15 scale the outlines are

- square: half its side is r;
- ellipse: 100 corners, half axes 1.33 r and r / 1.33;
- heart: 150 corners of x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t (a well-known curve, which a
  regression on the outline gave back) drawn 2 r wide, with 29 units of y to 2 r, and moved up by 0.15 r.

A larger orientation turns counterclockwise. Corners are rounded to 1/256 pixel; a pixel is on if its centre is inside.
The figures were fitted to the 320 frames of dsprites.gif in the authors' repository (its traversals of all factors):
every pixel agrees. Held out were 12 original pictures with their factors: all 49152 pixels agree, and so do the 43
pictures in the authors' notebook, whose factors had to be searched for. What these do not settle is who owns a pixel
whose centre lies exactly on an edge (here: the shape at its right or below it): about 6000 of the 3 * 10^9 pixels.

A step of x or y is 32/31 pixel, so pictures are no shifted copies of each other: each one is rasterised when asked for.
"""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Any

import numpy as np

FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
SIZE = 64  # pixels, height and width
COUNT = math.prod(FACTORS.values())  # pictures

_RADIUS = 0.15 * SIZE  # pixels at scale 1
_CORNERS = 150  # of the heart; the other outlines repeat their last corner
_GRID = 256  # a graphics card places corners on a grid of 1/256 pixel
_CENTRES = 0.25 * SIZE + 0.5 * SIZE * np.linspace(0, 1, 32)  # pixels, by value of x or y
_CHUNK = 256  # pictures drawn at once: what this takes fits into the cache of a CPU
# A row of pixels is a word, column c its bit c. _FROM[c] has all columns from c on; _FROM[64] has none.
_FROM = np.array([(1 << SIZE) - (1 << column) for column in range(SIZE + 1)], "<u8")


class Sprites:
    """The dSprites pictures of given numbers as a sequence [N,64,64,1] of uint8 in {0, 1}, drawn when asked for.

    A smaller one counts the pixels that are on in each block of the large one: [N,side,side,1] in 0..(64 / side)^2.
    """

    def __init__(self, order: np.ndarray, side: int = SIZE) -> None:
        """Take the number of each picture in dSprites' own order, [N] int in 0..737279, and a side that divides 64.

        Raises:
            ValueError: a number out of range, or an array of another kind.
        """
        order = np.asarray(order)
        if order.ndim != 1 or order.dtype.kind not in "iu" or np.any((order < 0) | (order >= COUNT)):
            raise ValueError(f"order must be [N] integers in 0..{COUNT - 1}")
        self.order = order.astype(np.int32)
        self.shape = (len(order), side, side, 1)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        """Return N."""
        return len(self.order)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return the pictures of an integer array or a slice, [B,side,side,1], or of one integer, [side,side,1]."""
        chosen = self.order[index]
        pictures, side = _draw_numbers(np.atleast_1d(chosen)), self.shape[1]
        if side < SIZE:
            blocks = pictures.reshape(-1, side, SIZE // side, side, SIZE // side, 1)
            pictures = blocks.sum((2, 4), dtype=np.uint8)
        return pictures if np.ndim(chosen) else pictures[0]

    @property
    def sha256(self) -> str:
        """A digest that changes with `order`, and with any change to how pictures are drawn."""
        smaller = b"" if self.shape[1] == SIZE else b"side %d" % self.shape[1]
        return hashlib.sha256(_drawing_digest() + smaller + self.order.astype("<i4").tobytes()).hexdigest()


def draw(factors: np.ndarray) -> np.ndarray:
    """Return the pictures of `factors` [B,5], integers in the order of FACTORS, as [B,64,64,1] uint8 in {0, 1}.

    Raises:
        ValueError: a factor out of range.
    """
    return _draw_numbers(np.ravel_multi_index(tuple(np.asarray(factors).T), tuple(FACTORS.values())))


def factors_of(index: np.ndarray) -> np.ndarray:
    """Return the factor values [B,5] int32 of the pictures `index` [B] in dSprites' own order: y varies fastest.

    Raises:
        ValueError: an index out of 0..737279.
    """
    return np.stack(np.unravel_index(index, tuple(FACTORS.values())), axis=-1).astype(np.int32)


def _draw_numbers(index: np.ndarray) -> np.ndarray:
    pictures = np.empty((len(index), SIZE, SIZE, 1), np.uint8)
    for start in range(0, len(index), _CHUNK):
        words = _rasterise(index[start : start + _CHUNK])
        pixels = np.unpackbits(words.view(np.uint8), bitorder="little")
        pictures[start : start + _CHUNK] = pixels.reshape(-1, SIZE, SIZE, 1)
    return pictures


def _rasterise(index: np.ndarray) -> np.ndarray:
    """Return the pictures of `index` [B] as words, [B,64] little-endian uint64.

    Going right along the centres of a row of pixels, each edge of the outline that is crossed turns all pixels from
    there on over. All in integers, so that no picture depends on how a machine rounds.
    """
    outline, place = np.divmod(index, 32 * 32)
    centre = _CENTRES[np.stack(np.divmod(place, 32), axis=-1)]
    x, y = np.floor((_outlines()[outline] + centre[..., None]) * _GRID + 0.5).astype(np.int32).transpose(1, 0, 2)
    first = (y + _GRID // 2 - 1) // _GRID  # the first row whose centre is not above the corner
    last = np.roll(first, -1, axis=1)
    crossed = np.abs(last - first).ravel()  # rows, by edge

    edge = np.repeat(np.arange(crossed.size), crossed)
    nth = np.arange(edge.size) - np.repeat(np.cumsum(crossed) - crossed, crossed)
    row = np.minimum(first, last).ravel()[edge] + nth
    picture = edge // _CORNERS
    width = (np.roll(x, -1, axis=1) - x).ravel()[edge]
    height = (np.roll(y, -1, axis=1) - y).ravel()[edge]
    x, y = x.ravel()[edge] - _GRID // 2, y.ravel()[edge] - _GRID // 2
    column = -((-x * height - (row * _GRID - y) * width) // (height * _GRID))  # rounded up: the first at or right of it

    words = np.zeros(len(index) * SIZE, "<u8")
    np.bitwise_xor.at(words, picture * SIZE + row, _FROM[column])
    return words.reshape(-1, SIZE)


@functools.cache
def _outlines() -> np.ndarray:
    """Return the corners about the centre in pixels, x right and y down: [3 * 6 * 40, 2, 150]."""
    shapes = np.stack([_square(), _ellipse(), _heart()])
    scale = np.linspace(0.5, 1, 6)
    angle = np.linspace(0, 2 * np.pi, 40)
    angle[-1] = 0  # the same direction as 2 pi, without its rounding error
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outlines = np.einsum("s,ijo,kjc->ksoic", _RADIUS * scale, turn, shapes).reshape(-1, 2, _CORNERS)
    outlines.setflags(write=False)
    return outlines


def _square() -> np.ndarray:
    corners = np.array([[-1.0, 1, 1, -1], [-1, -1, 1, 1]])
    return np.pad(corners, ((0, 0), (0, _CORNERS - 4)), "edge")


def _ellipse() -> np.ndarray:
    t = 2 * np.pi * np.arange(100) / 100
    return np.pad([1.33 * np.cos(t), np.sin(t) / 1.33], ((0, 0), (0, _CORNERS - 100)), "edge")


def _heart() -> np.ndarray:
    t = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    up = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.array([np.sin(t) ** 3, -2 / 29 * up - 0.15])


@functools.cache
def _drawing_digest() -> bytes:
    """Return a digest of the outlines and of how they are rasterised: each one at the 32 places with x = y."""
    corners = np.round(_outlines() * 1e6).astype("<i8")  # coarser than the last bits, in which machines differ
    places = np.arange(len(corners))[:, None] * 32 * 32 + np.arange(32) * 33
    digest = hashlib.sha256(corners.tobytes())
    for indices in places.reshape(-1, _CHUNK):
        digest.update(_rasterise(indices).tobytes())
    return digest.digest()
