"""Which examples a training step sees: a pure function of (seed, step), so there is no iterator to save."""

from __future__ import annotations

import numpy as np


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Return the number of whole batches; what is left over differs from epoch to epoch."""
    return num_examples // batch_size


def batch_indices(seed: int, start: int, stop: int, num_examples: int, batch_size: int) -> np.ndarray:
    """Return the example indices of the steps start..stop-1, [stop - start, batch_size] int32.

    Each epoch is a permutation of its own, without replacement.
    """
    per_epoch = steps_per_epoch(num_examples, batch_size)
    rows = []
    for epoch in range(start // per_epoch, (stop - 1) // per_epoch + 1):
        batches = permutation(seed, epoch, num_examples)[: per_epoch * batch_size].reshape(per_epoch, batch_size)
        first = epoch * per_epoch
        rows.append(batches[max(start - first, 0) : stop - first])
    return np.concatenate(rows)


def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the numbers 0..size-1 in an order that depends on seed and epoch alone."""
    # Sorting raw Philox words: numpy keeps the words of a bit generator the same between versions, not its shuffles.
    words = np.random.Philox(key=[seed, epoch]).random_raw(size)
    return np.argsort(words, kind="stable").astype(np.int32)
