"""Published data sets, from their original files: `--data_dir` holds them, or they are downloaded.

The files are compared with their SHA-256, prepared in the form of tensorflow-datasets, and kept decoded.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Mapping

import numpy as np

from vae_jax.data import builders
from vae_jax.data.cache import Place, cached
from vae_jax.data.dataset import SPLITS, Dataset, Split
from vae_jax.data.formats import read_amat, read_cifar, read_dsprites, read_idx, read_omniglot
from vae_jax.data.originals import locate, originals_of
from vae_jax.data.splitting import random_parts
from vae_jax.data.sprites import FACTORS
from vae_jax.errors import ConfigError

_VERSION = "1.0.0"  # of the prepared form: to be raised when a set is decoded or split in another way

Files = list[pathlib.Path]  # of a set, in the order of originals.csv


def mnist(place: Place) -> Dataset:
    """Handwritten digits, 28x28 gray: 50000 / 10000 / 10000, validation the last of train (LeCun et al. 1998)."""
    return _published(place, "mnist", _idx, "MNIST, the original IDX files", num_classes=10, last=10000)


def fashion_mnist(place: Place) -> Dataset:
    """Clothes, 28x28 gray: 50000 / 10000 / 10000, validation the last of train (Xiao et al. 2017)."""
    return _published(place, "fashion_mnist", _idx, "Fashion-MNIST, the original IDX files", num_classes=10, last=10000)


def kmnist(place: Place) -> Dataset:
    """Cursive Japanese, 28x28 gray: 50000 / 10000 / 10000, validation the last of train (Clanuwat et al. 2018)."""
    return _published(place, "kmnist", _idx, "Kuzushiji-MNIST, the original IDX files", num_classes=10, last=10000)


def binarized_mnist(place: Place) -> Dataset:
    """MNIST as fixed draws of 0 and 1, no labels: 50000 / 10000 / 10000, the published splits (Larochelle)."""

    def decode(files: Files) -> dict[str, Split]:
        parts = (Split(read_amat(path, 28)) for path in files)
        return dict(zip(SPLITS, parts, strict=True))

    return _published(place, "binarized_mnist", decode, "static binarized MNIST, the published splits", levels=1)


def omniglot28(place: Place, *, subset: str = "full") -> Dataset:
    """Characters of 50 alphabets, 28x28 gray, by drawer: 1-14 train, 15 validation, 16-20 test (Lake et al. 2015).

    Made from the published 105x105 strokes, white on black, each value the mean over its area; the label is the
    character. It is not the file of the IWAE paper (Burda et al. 2016), which cannot be made again from the archives:
    figures on it compare with each other only.

    Args:
        place: where to look.
        subset: full (32460 pictures), or small: the 4840 different ones of the archives "small1" and "small2".

    Raises:
        ConfigError: another subset.
    """
    classes = {"full": 1623, "small": 242}
    if subset not in classes:
        raise ConfigError(f"data.subset={subset!r} is not allowed: expected {' or '.join(classes)}")

    def decode(files: Files) -> dict[str, Split]:
        images, labels, drawers = read_omniglot(files, 28)
        parts = {"train": drawers < 15, "validation": drawers == 15, "test": drawers > 15}
        return {name: Split(images[part], labels[part]) for name, part in parts.items()}

    origin = f"Omniglot, the {subset} set of the original archives, area mean to 28x28, split by drawer"
    return _published(place, f"omniglot_{subset}", decode, origin, num_classes=classes[subset])


def dsprites(place: Place) -> Dataset:
    """Shapes by 5 factors, 64x64 of 0 and 1, the label is the shape: 90 / 5 / 5 % of 737280 (Matthey et al. 2017)."""

    def decode(files: Files) -> dict[str, Split]:
        images, factors = read_dsprites(files[0], FACTORS)
        parts = random_parts(len(images))
        return {part: Split(images[i], factors[i, 0], factors[i]) for part, i in parts.items()}

    origin = "dSprites, the published npz, split 90/5/5 % by a fixed permutation"
    return _published(place, "dsprites", decode, origin, levels=1, num_classes=3, factors=FACTORS)


def cifar10(place: Place) -> Dataset:
    """Photographs, 32x32 RGB, 10 classes: 45000 / 5000 / 10000, validation the last of train (Krizhevsky 2009)."""
    return _published(
        place,
        "cifar10",
        lambda files: read_cifar(files[0]),
        "CIFAR-10, the published binary archive",
        num_classes=10,
        last=5000,
    )


def _idx(files: Files) -> dict[str, Split]:
    train, train_labels, test, test_labels = (read_idx(path, 3 if "idx3" in path.name else 1) for path in files)
    return {
        "train": Split(train[..., None], train_labels.astype(np.int32)),
        "test": Split(test[..., None], test_labels.astype(np.int32)),
    }


def _published(
    place: Place,
    name: str,
    decode: Callable[[Files], dict[str, Split]],
    origin: str,
    *,
    levels: int = 255,
    num_classes: int = 0,
    last: int = 0,
    factors: Mapping[str, int] | None = None,
) -> Dataset:
    """Return a set: from the decoded cache, else from its TFDS form, else from the original files.

    Args:
        place: where to look.
        name: of the set in originals.csv.
        decode: the original files -> splits as they are published.
        origin: for the reader of a manifest.
        levels: as in `Dataset`.
        num_classes: as in `Dataset`.
        last: how many pictures at the end of train are its validation split, where none is published.
        factors: as in `Dataset`.
    """

    def make() -> Dataset:
        splits = _from_tfds(place, name, decode, origin, num_classes)
        if last:
            images, labels, _ = splits["train"]
            splits["train"] = Split(images[:-last], labels[:-last])
            splits["validation"] = Split(images[-last:], labels[-last:])
        ordered = {split: splits[split] for split in SPLITS}
        whole = f"{origin}; validation is the last {last} of train" if last else origin
        return Dataset(name, ordered, levels, num_classes, whole, factors or {})

    return cached(place, f"{name}-{_VERSION}", make)


def _from_tfds(
    place: Place, name: str, decode: Callable[[Files], dict[str, Split]], origin: str, num_classes: int
) -> dict[str, Split]:
    """Read the TFDS form of a set, after preparing it where it is missing or damaged."""
    folder = place.cache_dir / "tfds"
    if builders.prepared(folder, name, _VERSION):
        try:
            return builders.read(folder, name, _VERSION)
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            place.say(f"{folder / name} is damaged ({type(error).__name__}); preparing it again")
            shutil.rmtree(folder / name)
    files = locate(place, name, originals_of(name))
    place.say(f"preparing {name}; this is done once")
    builders.write(folder, name, _VERSION, origin, num_classes, decode(files))
    return builders.read(folder, name, _VERSION)
