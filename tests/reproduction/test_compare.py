"""Figures side by side: what counts as equal, what as near, and what is said of the rest."""

import math

import numpy as np
import pytest

from vae_jax.reproduction.compare import Gap, compare_results, compare_rows, compare_trees, table

ROWS = [
    {"step": 1, "split": "train", "loss": 10.0, "k": 4},
    {"step": 2, "split": "train", "loss": -0.001, "k": 4},
    {"step": 2, "split": "validation", "loss": 3.0},
]


def with_value(number, **values):
    return [{**row, **values} if i == number else row for i, row in enumerate(ROWS)]


def figures(found):
    return [gap.figure for gap in found.gaps]


def test_equal_rows_have_no_gap():
    found = compare_rows(ROWS, ROWS, None)
    assert (found.gaps, found.largest, found.count) == ([], 0.0, 11)


@pytest.mark.parametrize("number, where", [(0, "train loss, step 1"), (1, "train loss, step 2")])
def test_one_bit_is_enough(number, where):
    now = with_value(number, loss=math.nextafter(ROWS[number]["loss"], 99))
    assert figures(compare_rows(ROWS, now, None)) == [where]
    assert not compare_rows(ROWS, now, 1e-9).gaps


def test_the_scale_is_that_of_the_column():
    now = with_value(1, loss=0.001)  # twice its own size, but 0.02 % of the column
    assert compare_rows(ROWS, now, 0.001).gaps == []
    assert figures(compare_rows(ROWS, now, 0.0001)) == ["train loss, step 2"]


def test_the_first_loss_is_held_closer():
    now = with_value(0, loss=10.1)
    assert figures(compare_rows(ROWS, now, 0.02)) == ["train loss, step 1"]
    assert compare_rows(ROWS, with_value(2, loss=3.03), 0.02).gaps == []


def test_no_tolerance_is_of_what_is_not_measured():
    rows = [{**row, "step": 1000 * row["step"]} for row in ROWS]
    later = [{**row, "step": row["step"] + 1} for row in rows]
    assert figures(compare_rows(rows, later, 0.02)) == [
        "train step, step 1000 and 1 more",
        "validation step, step 2000",
    ]
    for name in "steps", "num_parameters":
        assert figures(compare_results({name: 10000}, {name: 10001}, 0.02)) == [name]


def test_a_column_is_told_once_with_where_it_began():
    now = [{**row, "loss": row["loss"] + 1} for row in ROWS]
    assert figures(compare_rows(ROWS, now, None)) == ["train loss, step 1 and 1 more", "validation loss, step 2"]


@pytest.mark.parametrize("now", [ROWS[:-1], [*ROWS[:-1], {"step": 2, "split": "validation"}]])
def test_what_is_missing_is_a_gap_whatever_the_tolerance(now):
    for tolerance in None, 1e9:
        assert "validation loss, step 2" in figures(compare_rows(ROWS, now, tolerance))


def test_whole_numbers_may_differ_by_one_and_names_by_nothing():
    then = {"test": {"active_units": 20, "mse": 0.5}, "baselines": {"solver": "exact"}, "seconds_total": 1.0}
    for now, tolerance, told in (
        ({"test": {"active_units": 21}}, 0.01, []),
        ({"test": {"active_units": 21}}, None, ["test.active_units"]),
        ({"test": {"active_units": 22}}, 0.01, ["test.active_units"]),
        ({"baselines": {"solver": "other"}}, 0.01, ["baselines.solver"]),
        ({"test": {"mse": math.nan}}, 0.01, ["test.mse"]),
        ({"seconds_total": 9.0}, None, []),
        ({"state_sha256": "ab"}, None, ["state_sha256"]),
        ({"state_sha256": "ab"}, 0.01, []),
    ):
        changed = {k: {**v, **now.get(k, {})} if isinstance(v, dict) else v for k, v in then.items()} | {
            k: v for k, v in now.items() if k not in ("test", "baselines")
        }
        assert figures(compare_results(then, changed, tolerance)) == told, (now, tolerance)


def test_arrays_by_bytes_or_by_norm():
    then = {"w": np.array([3.0, 4.0], np.float32), "zero": np.zeros(2, np.float32)}
    signed = {**then, "zero": np.array([0.0, -0.0], np.float32)}
    assert figures(compare_trees(then, signed, None)) == ["zero, norm"] and not compare_trees(then, signed, 0.1).gaps
    moved = {**then, "w": np.array([3.0, 4.5], np.float32)}
    assert compare_trees(then, moved, None).gaps[0].relative == pytest.approx(0.1)
    assert compare_trees(then, moved, 0.2).gaps == [] != compare_trees(then, moved, 0.05).gaps
    assert compare_trees(then, {"w": then["w"].astype(np.float64)}, 1.0).gaps == [
        Gap("w", "float32[2]", "float64[2]", None),
        Gap("zero", "float32[2]", "none", None),
    ]


def test_the_table_has_the_largest_first_and_counts_the_rest():
    gaps = [Gap(f"f{i}", 1.0, 1.0 + i, float(i)) for i in range(14)] + [Gap("gone", None, "x", None)]
    lines = table(gaps).splitlines()
    assert lines[1].split() == ["gone", "none", "x"] and lines[2].split() == ["f13", "1", "14", "13"]
    assert lines[-1] == "and 3 more" and len(lines) == 14


@pytest.mark.parametrize("tolerance", [None, 0.5])
def test_an_array_with_a_nan_is_equal_to_no_other(tolerance):
    whole = {"w": np.ones(3, np.float32)}
    found = compare_trees(whole, {"w": np.float32([1, np.nan, 1])}, tolerance)
    assert [gap.figure for gap in found.gaps] == ["w, norm"]
