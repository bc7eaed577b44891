"""Pictures of any size and colour, from files or a hub, made into a data set of one shape."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vae_jax.data.cache import Place, cached
from vae_jax.data.dataset import SPLITS, Dataset, Split
from vae_jax.data.pictures import fitted
from vae_jax.data.splitting import stratified_parts
from vae_jax.errors import DataError

_VERSION = 1  # of the decoded form: to be raised when pictures are decoded, split or fitted in another way


class Collection(NamedTuple):
    """Pictures that are not decoded yet."""

    names: Sequence[str]  # for messages
    load: Callable[[int], Image.Image]  # -> mode L or RGB; raises DataError
    classes: Sequence[str] | None = None  # the class of each
    factors: np.ndarray | None = None  # [N,F] int32

    def subset(self, index: np.ndarray) -> Collection:
        """Return the pictures of an index, in its order."""
        return Collection(
            [self.names[i] for i in index],
            lambda i: self.load(int(index[i])),
            None if self.classes is None else [self.classes[i] for i in index],
            None if self.factors is None else self.factors[index],
        )


class Rules(NamedTuple):
    """How pictures are brought to one shape. What is None, all pictures must have in common."""

    size: Sequence[int] | None = None  # (H, W), or (side,)
    fit: str = "crop"  # see `pictures.fitted`
    channels: int | None = None
    on_error: str = "stop"  # or skip: leave out what cannot be read or does not fit
    validation: float = 0.1  # share of the pictures that have no split of their own
    test: float = 0.1


class Decoded:
    """Lazy pictures [N,H,W,C], decoded by threads when they are read."""

    dtype = np.dtype(np.uint8)

    def __init__(self, collection: Collection, shape: tuple[int, int, int], fit: str):
        self.collection, self.fit = collection, fit
        self.shape = (len(collection.names), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            images = threads.map(self._one, range(len(self))[index])
            return np.stack(list(images))

    def _one(self, i: int) -> np.ndarray:
        return fitted(self.collection.load(i), self.shape[1:], self.fit)


def stamp(file: pathlib.Path) -> tuple[int, int]:
    """Return size and time, which change with a file; of one that cannot be looked at, opening it will tell."""
    try:
        found = file.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def decode_once(place: Place, name: str, identity: Sequence[Any], make: Callable[[], Dataset]) -> Dataset:
    """Return the set that `make()` assembles, decoded, from the cache if the same was decoded before.

    Args:
        place: where it is kept.
        name: what to call it in a message.
        identity: the source, and all that decides what is decoded, to be written as JSON.
        make: see `assemble`.
    """

    def announced() -> Dataset:
        place.say(f"decoding {name}; this is done once")
        return make()

    digest = hashlib.sha256(json.dumps([_VERSION, *identity], default=list).encode()).hexdigest()
    return cached(place, f"{identity[0]}-{digest[:16]}", announced)


def assemble(
    name: str, parts: dict[str, Collection], rules: Rules, origin: str, factors: Mapping[str, int] | None = None
) -> Dataset:
    """Return the data set of collections by split, not decoded yet.

    Args:
        name: of the set.
        parts: `train` and, where they have splits of their own, `validation` and `test`; the others are cut from
            `train` by a fixed permutation, within each class.
        rules: see `Rules`.
        origin: for the reader of a manifest.
        factors: as in `Dataset`.

    Raises:
        DataError: a picture that does not fit the rules, naming it and the rule; a class too small to be split.
    """
    shape, skipped = _common_shape(parts, rules)
    if skipped:
        parts = {split: part.subset(_others(part, skipped)) for split, part in parts.items()}
    parts = _cut(parts, rules)
    classes = _classes(parts)
    number = {known: i for i, known in enumerate(classes)}
    splits = {}
    for split in SPLITS:
        part = parts[split]
        labels = np.array([number[c] for c in part.classes], np.int32) if classes else None
        splits[split] = Split(Decoded(part, shape, rules.fit), labels, part.factors)
    left_out = tuple(f"{file}: {reason}" for file, reason in sorted(skipped.items()))
    return Dataset(name, splits, 255, len(classes), origin, factors or {}, left_out)


def _others(part: Collection, skipped: dict[str, str]) -> np.ndarray:
    return np.array([i for i, name in enumerate(part.names) if name not in skipped], int)


def _common_shape(parts: dict[str, Collection], rules: Rules) -> tuple[tuple[int, int, int], dict[str, str]]:
    """Return H, W, C of all pictures, and what has to be skipped, with the reason.

    Every picture is decoded here unless size and channels are given and none may be skipped.
    """
    size = None if rules.size is None else (rules.size[0], rules.size[-1])
    if size and rules.channels and rules.on_error == "stop":
        return (*size, rules.channels), {}
    first, skipped = None, {}
    for part in parts.values():
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            found = list(threads.map(lambda i, part=part: _inspect(part, i, rules), range(len(part.names))))
        for name, seen in zip(part.names, found, strict=True):
            if isinstance(seen, str):
                skipped[name] = seen
                continue
            first = first or (name, *seen)
            if reason := _difference(name, seen, first, rules):
                if rules.on_error == "stop":
                    raise DataError(reason)
                skipped[name] = reason
    if first is None:
        raise DataError(f"none of the pictures can be read; the first: {next(iter(skipped.values()))}")
    return (*(size or first[1]), rules.channels or first[2]), skipped


def _inspect(part: Collection, i: int, rules: Rules) -> tuple[tuple[int, int], int] | str:
    """Return height, width and channels of a picture, or, where such are skipped, why it cannot be read."""
    try:
        picture = part.load(i)
    except DataError as error:
        if rules.on_error == "stop":
            raise
        return str(error)
    return (picture.height, picture.width), 1 if picture.mode == "L" else 3


def _difference(name: str, seen: tuple[tuple[int, int], int], first: tuple[Any, ...], rules: Rules) -> str:
    (height, width), channels = seen
    if rules.size is None and (height, width) != first[1]:
        return (
            f"{name} is {height} high and {width} wide, but {first[0]} is {first[1][0]} high and {first[1][1]} wide; "
            "set data.size to bring all to one size"
        )
    if rules.channels is None and channels != first[2]:
        kinds = {1: "gray", 3: "in colour"}
        return f"{name} is {kinds[channels]}, but {first[0]} is {kinds[first[2]]}; set data.channels to 1 or 3 for all"
    return ""


def _cut(parts: dict[str, Collection], rules: Rules) -> dict[str, Collection]:
    """Cut the missing splits from train."""
    shares = {split: getattr(rules, split) for split in ("validation", "test") if split not in parts}
    if not shares:
        return parts
    train = parts["train"]
    index = stratified_parts(train.classes or ["pictures"] * len(train.names), shares)
    return {**parts, **{split: train.subset(index[split]) for split in ("train", *shares)}}


def _classes(parts: dict[str, Collection]) -> list[str]:
    if any(part.classes is None for part in parts.values()):
        return []
    counts = Counter(parts["train"].classes)
    for split in ("validation", "test"):
        if unknown := sorted(set(parts[split].classes) - counts.keys()):
            raise DataError(f"class {unknown[0]!r} is in {split}, but train has no picture of it")
    return sorted(counts)
