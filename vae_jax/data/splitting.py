"""Which examples go into which split, where the data come without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vae_jax.data.order import permutation
from vae_jax.errors import DataError

VALIDATION = ("validation", "valid", "val", "dev")  # what others call that split
_SEED = 1797  # of the permutation: no option, so that a set has one split only


def random_parts(size: int, validation: float = 0.05, test: float = 0.05) -> dict[str, np.ndarray]:
    """Return the indices of the three splits, [N] each in random order, by a permutation that depends on `size` alone.

    Raises:
        DataError: a split would be empty.
    """
    order = permutation(_SEED, 0, size)
    counts = [_count(size, share) for share in (validation, test)]
    if sum(counts) >= size:
        raise DataError(f"{size} pictures are too few for a training, a validation and a test split")
    cut = size - sum(counts)
    return {"train": order[:cut], "validation": order[cut : cut + counts[0]], "test": order[cut + counts[0] :]}


def _count(size: int, share: float) -> int:
    return max(1, round(size * share))


def stratified_parts(classes: Sequence[str], shares: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Return ascending indices of `train` and of each split in `shares`, taken within each class.

    A class of n pictures gives at least one to every split, so it needs one more than there are shares.

    Raises:
        DataError: a class has too few.
    """
    members: dict[str, list[int]] = {}
    for i, name in enumerate(classes):
        members.setdefault(name, []).append(i)
    parts: dict[str, list[int]] = {"train": [], **{split: [] for split in shares}}
    for name, index in members.items():
        order = np.array(index)[permutation(_SEED, 0, len(index))]
        counts = [_count(len(index), share) for share in shares.values()]
        if sum(counts) >= len(index):
            raise DataError(
                f"{name!r} has {len(index)} of the pictures, too few for {' and '.join(parts)}; "
                "add some, or give each split a folder of its own"
            )
        for split, count in zip(shares, counts, strict=True):
            parts[split] += order[:count].tolist()
            order = order[count:]
        parts["train"] += order.tolist()
    return {split: np.sort(np.array(index, int)) for split, index in parts.items()}
