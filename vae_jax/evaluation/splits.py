"""Averages over a whole split: every example counts once, whatever the batch size and the number of devices."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from vae_jax.data.feed import Feed


def per_example(
    function: Callable[[np.ndarray], dict[str, np.ndarray]], num_examples: int, batch_size: int
) -> dict[str, np.ndarray]:
    """Return function(index [B]) -> {name: [B, ...]} for all examples 0..num_examples-1, in order.

    The last batch is filled up with example 0, so that one compiled program serves all, and cut again.
    """
    found: dict[str, np.ndarray] = {}
    for start in range(0, num_examples, batch_size):
        index = np.arange(start, start + batch_size, dtype=np.int32)
        values = function(np.where(index < num_examples, index, 0))
        count = min(batch_size, num_examples - start)
        for name, value in values.items():
            if start == 0:
                found[name] = np.empty((num_examples, *value.shape[1:]), value.dtype)
            found[name][start : start + count] = np.asarray(value)[:count]
    return found


def seen(feed: Feed, shape: tuple[int, int, int], limit: int | None, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return these fields of a split's examples as a model sees them: of `limit` evenly spaced ones, or of all."""
    feed = feed if limit is None else feed.subset(limit)
    see = feed.compiled(lambda batch: {name: batch[name] for name in names})
    return per_example(see, feed.size, batch_for(feed.size, shape))


def batch_for(num_examples: int, shape: tuple[int, int, int]) -> int:
    """Return how many pictures [H,W,C] to look at at once: 64 MB of them as float32, but at most 1000."""
    return max(1, min(num_examples, 1000, int(64e6 // (4 * math.prod(shape)))))


def mean(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean of each metric, summed in float64."""
    return {name: float(value.mean(dtype=np.float64)) for name, value in values.items()}


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of a mean over examples; 0 for a single one."""
    return float(values.std(ddof=1, dtype=np.float64) / len(values) ** 0.5) if len(values) > 1 else 0.0
