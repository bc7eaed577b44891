"""Means over seeds are of the runs that have finished."""

import statistics

import pytest

from vae_jax.sweeps.table import best, over_seeds

VALUES = [3.0, 5.0, 10.0]
ROWS = [
    {"run": f"{i}", "status": "done", "hypers.beta": 1.0, "seed": i, "test.loss": value, "validation.loss": value}
    for i, value in enumerate(VALUES)
]
FAILED = {"run": "3", "status": "failed", "hypers.beta": 1.0, "seed": 3, "validation.loss": 1.0}


def test_a_failed_run_counts_in_no_figure():
    (row,) = over_seeds([*ROWS, FAILED], "test.loss")
    assert (row["finished"], row["runs"]) == (3, 4)
    assert row["mean"] == pytest.approx(6)
    assert row["standard_error"] == pytest.approx(statistics.stdev(VALUES) / 3**0.5)
    assert best([*ROWS, FAILED])["run"] == "0"


def test_one_run_has_no_standard_error_and_none_has_no_mean():
    other = FAILED | {"hypers.beta": 2.0}
    one, none = over_seeds([ROWS[0], FAILED, other], "test.loss")
    assert (one["mean"], one["standard_error"]) == (3, None)
    assert (none["mean"], none["standard_error"], none["finished"]) == (None, None, 0)
