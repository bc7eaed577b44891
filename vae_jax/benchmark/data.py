"""The pictures that all contenders train on: files that each reads in its own way."""

from __future__ import annotations

import pathlib

import numpy as np

from vae_jax.data.load import open_dataset

_SIZES = {"train": 60000, "validation": 1000, "test": 10000}  # of synthetic sets
_COLOUR_SIZES = {"train": 20000, "validation": 1000, "test": 1000}
_QUICK_SIZES = {"train": 2048, "validation": 64, "test": 64}
_CELL = 4  # pixels along a side of what is drawn together


def write_data(
    folder: pathlib.Path, shape: tuple[int, int, int], data_dir: pathlib.Path | None = None, quick: bool = False
) -> str:
    """Write train.npy, validation.npy and test.npy, [N,H,W,C] uint8 of 0 and 1, and return what they are in a sentence.

    Args:
        folder: a new one.
        shape: H, W, C.
        data_dir: where MNIST's files are, for 28x28x1; without, and for other shapes, the pictures are synthetic.
        quick: only a few.

    Raises:
        DataError: the folder has no MNIST, or its files are damaged.
    """
    if data_dir and shape == (28, 28, 1):
        splits = open_dataset({"name": "mnist"}, data_dir, say=lambda _: None).splits
        pictures = {name: (split.images[:] > 127).astype(np.uint8) for name, split in splits.items()}
        kind = "MNIST, black below one half and white above"
    else:
        sizes = _COLOUR_SIZES if shape[2] > 1 else _SIZES
        pictures = {name: _synthetic(size, shape, name) for name, size in (_QUICK_SIZES if quick else sizes).items()}
        kind = "synthetic: pixels of 0 and 1 by ten patterns of probabilities"
    if quick:
        pictures = {name: images[: _QUICK_SIZES[name]] for name, images in pictures.items()}
    folder.mkdir()
    for name, images in pictures.items():
        np.save(folder / f"{name}.npy", images)
    return f"{len(pictures['train'])} of {'x'.join(map(str, shape))}, {kind}"


def _synthetic(size: int, shape: tuple[int, int, int], split: str) -> np.ndarray:
    """Return `size` pictures; the ten patterns are the same for all splits."""
    height, width, channels = shape
    coarse = np.random.default_rng(0).random((10, height // _CELL, width // _CELL, channels), np.float32)
    patterns = (coarse**2).repeat(_CELL, axis=1).repeat(_CELL, axis=2)
    random = np.random.default_rng(len(split))
    kinds, pictures = random.integers(0, 10, size), np.empty((size, *shape), np.uint8)
    for start in range(0, size, 1000):
        part = kinds[start : start + 1000]
        pictures[start : start + 1000] = random.random((len(part), *shape), np.float32) < patterns[part]
    return pictures
