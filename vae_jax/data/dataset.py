"""What a source of data returns, and what every one is checked for before anything is compiled."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from vae_jax.data.order import evenly_spaced
from vae_jax.errors import DataError

SPLITS = ("train", "validation", "test")


class Pictures(Protocol):
    """[N,H,W,C] pictures that are read, decoded or drawn when they are asked for. A numpy array serves as well."""

    shape: tuple[int, int, int, int]
    dtype: np.dtype
    sha256: str  # of all pixels in order; a numpy array has none, and is hashed

    def __len__(self) -> int:
        """Return N."""

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return the pictures of an integer array or a slice, [B,H,W,C]."""


class Split(NamedTuple):
    """images [N,H,W,C], uint8 in 0..levels or float32 in [0, 1]; labels [N] int32 in 0..num_classes-1, or None.

    factors [N,F] int32 are the values that each picture was made from, where they are known.
    """

    images: np.ndarray | Pictures
    labels: np.ndarray | None = None
    factors: np.ndarray | None = None


class Dataset(NamedTuple):
    """Three disjoint splits of pictures of one shape."""

    name: str
    splits: dict[str, Split]
    levels: int  # the value of a white pixel: images / levels lies in [0, 1]
    num_classes: int  # 0 where there are no labels
    origin: str  # where the pictures come from and how they were split, in one sentence
    factors: Mapping[str, int] = {}  # name of each factor, in order -> number of values
    skipped: tuple[str, ...] = ()  # files that were left out, each with the reason

    @property
    def shape(self) -> tuple[int, int, int]:
        """H, W, C."""
        return self.splits["train"].images.shape[1:]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of pictures by split."""
        return {name: len(split.images) for name, split in self.splits.items()}

    def pictures(self, split: str, limit: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return at most `limit` evenly spaced pictures of a split as float32 in [0, 1], and their labels."""
        images, labels, _ = self.splits[split]
        index = evenly_spaced(len(images), limit)
        return images[index] / np.float32(self.levels), None if labels is None else labels[index]


def checked(dataset: Dataset) -> Dataset:
    """Return the data set if each split can be trained on.

    Raises:
        DataError: naming the split, what is wrong with it and what was expected.
    """
    for name, (images, labels, factors) in dataset.splits.items():
        where = f"{dataset.name}, {name} images"
        if len(images.shape) != 4 or 0 in images.shape:
            raise DataError(f"{where}: shape {images.shape}, expected [N,H,W,C] with no zero")
        first = dataset.splits["train"].images
        if (images.shape[1:], images.dtype) != (first.shape[1:], first.dtype):
            raise DataError(
                f"{where}: {images.dtype} of shape {images.shape[1:]}, "
                f"but the training images are {first.dtype} of shape {first.shape[1:]}"
            )
        _check_range(images, dataset.levels, where)
        if labels is not None:
            _check_labels(labels, len(images), dataset.num_classes, f"{dataset.name}, {name} labels")
        if factors is not None and factors.shape != (len(images), len(dataset.factors)):
            raise DataError(
                f"{dataset.name}, {name} factors: shape {factors.shape}, expected {len(images), len(dataset.factors)}"
            )
    images = dataset.splits["train"].images
    if isinstance(images, np.ndarray) and all((part == images.flat[0]).all() for part in (images[:100], images)):
        raise DataError(f"{dataset.name}, train images: all pixels are {images.flat[0]}: there is nothing to learn")
    return dataset


def described(dataset: Dataset) -> dict[str, Any]:
    """Return what a manifest says of the data."""
    return {
        "name": dataset.name,
        "origin": dataset.origin,
        "sha256": sha256(dataset),
        "sizes": dataset.sizes,
        "shape": list(dataset.shape),
        "num_classes": dataset.num_classes,
        "factors": dict(dataset.factors),
        "skipped": list(dataset.skipped),
    }


def picture_bytes(dataset: Dataset) -> int:
    """Return what a picture takes as it is stored, decoded."""
    return math.prod(dataset.shape) * np.dtype(dataset.splits["train"].images.dtype).itemsize


def is_streamed(config: Mapping[str, Any], dataset: Dataset) -> bool:
    """Tell whether a set is read while it is trained on: its splits, as stored, take more than `config.memory_mb`.

    1 MB = 10^6 bytes; `config` is `config.data`.
    """
    return sum(dataset.sizes.values()) * picture_bytes(dataset) > 1e6 * config["memory_mb"]


def sha256(dataset: Dataset) -> str:
    """Return the SHA-256 of all pixels, labels and factors in the order of the splits, however they are stored."""
    digest = hashlib.sha256()
    for name in SPLITS:
        for array in dataset.splits[name]:
            if array is not None:
                digest.update(f"{name} {tuple(array.shape)} {array.dtype.str} {array_sha256(array)}".encode())
    return digest.hexdigest()


def array_sha256(array: np.ndarray | Pictures) -> str:
    """Return the SHA-256 of an array's values in order; lazy pictures know theirs."""
    if isinstance(array, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
    return array.sha256


def _check_labels(labels: np.ndarray, count: int, num_classes: int, where: str) -> None:
    if labels.shape != (count,):
        raise DataError(f"{where}: {len(labels)} labels for {count} images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"{where}: values in {low}..{high}, expected 0..{num_classes - 1}")


def _check_range(images: np.ndarray, levels: int, where: str) -> None:
    if images.dtype == np.uint8:
        # Of 255 levels none can be too large; lazy pictures are checked by those who make them.
        if levels < 255 and isinstance(images, np.ndarray) and int(images.max()) > levels:
            raise DataError(f"{where}: largest value {int(images.max())}, expected at most {levels}")
        return
    if images.dtype != np.float32:
        raise DataError(f"{where}: dtype {images.dtype}, expected uint8 in 0..{levels} or float in [0, 1]")
    check_unit_range(images, where)


def check_unit_range(images: np.ndarray, where: str, bounded: bool = True) -> None:
    """Refuse float pictures [N,H,W,C] with a value that is not finite or, where they are `bounded`, not in [0, 1].

    Raises:
        DataError: it begins with `where`.
    """
    bad = ~np.isfinite(images)
    if bad.any():
        first = int(np.argmax(bad.reshape(len(images), -1).any(axis=1)))
        raise DataError(f"{where}: {int(bad.sum())} values are NaN or infinite, the first in image {first}")
    low, high = float(images.min()), float(images.max())
    if bounded and (low < 0 or high > 1):
        raise DataError(f"{where}: float values in {low:g}..{high:g}, expected [0, 1]; scale them, or save as uint8")
