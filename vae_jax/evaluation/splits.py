"""Averages over a whole split: every example counts once, whatever the batch size and the number of devices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def per_example(
    function: Callable[[np.ndarray], dict[str, np.ndarray]], num_examples: int, batch_size: int
) -> dict[str, np.ndarray]:
    """Return function(index [B]) -> {name: [B, ...]} for all examples 0..num_examples-1, in order.

    The last batch is filled up with example 0, so that one compiled program serves all, and cut again.
    """
    rows = []
    for start in range(0, num_examples, batch_size):
        index = np.arange(start, start + batch_size, dtype=np.int32)
        values = function(np.where(index < num_examples, index, 0))
        count = min(batch_size, num_examples - start)
        rows.append({name: np.asarray(value)[:count] for name, value in values.items()})
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def mean(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean of each metric, summed in float64."""
    return {name: float(value.mean(dtype=np.float64)) for name, value in values.items()}


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of a mean over examples; 0 for a single one."""
    return float(values.std(ddof=1, dtype=np.float64) / len(values) ** 0.5) if len(values) > 1 else 0.0
