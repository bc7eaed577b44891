"""Which examples a training step sees: a pure function of (seed, step), so there is no iterator to save."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

# Of a piece of steps: its rows [S,B,...], and the first and the last but one of the steps in it that are to be run.
Piece = tuple[Any, int, int]


class Order(NamedTuple):
    """The order of a training split, and the share of it that this process reads."""

    seed: int
    num_examples: int
    batch_size: int  # B, over all processes
    share: tuple[int, int] = (0, 1)  # this process, number of processes

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return the indices that this process reads for the steps start..stop-1, [stop - start, B / processes]."""
        process, processes = self.share
        size = self.batch_size // processes
        whole = batch_indices(self.seed, start, stop, self.num_examples, self.batch_size)
        return whole[:, process * size : (process + 1) * size]

    def epochs(self, start: int, stop: int) -> np.ndarray:
        """Return the epoch of each of the steps start..stop-1."""
        return np.arange(start, stop) // steps_per_epoch(self.num_examples, self.batch_size)


def index_pieces(order: Order, length: int, put: Callable[[Any], Any]) -> Callable[[int, int], Iterator[Piece]]:
    """Return pieces(start, stop) -> the indices of these steps, `length` at a time, as `put` places them."""

    def pieces(start: int, stop: int) -> Iterator[Piece]:
        for first in range(start, stop, length):
            count = min(length, stop - first)
            rows = order.rows(first, first + count)
            # Always of one shape, so that one compiled program serves them all.
            yield put(np.pad(rows, ((0, length - count), (0, 0)))), 0, count

    return pieces


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


@functools.lru_cache(maxsize=2)  # a run asks for every step's; reading ahead may be in the next epoch already
def permutation(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the numbers 0..size-1 in an order that depends on seed and epoch alone, as a read-only array."""
    # Sorting raw Philox words: numpy keeps the words of a bit generator the same between versions, not its shuffles.
    words = np.random.Philox(key=[seed, epoch]).random_raw(size)
    order = np.argsort(words, kind="stable").astype(np.int32)
    order.setflags(write=False)
    return order


def evenly_spaced(size: int, limit: int) -> np.ndarray:
    """Return at most `limit` of the numbers 0..size-1, evenly spaced, int32."""
    count = min(size, limit)
    return (np.arange(count, dtype=np.int64) * size // max(count, 1)).astype(np.int32)
