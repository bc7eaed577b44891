"""Points of sweeps: combinations, what is drawn, and what the command line may say."""

import math

import pytest

from vae_jax.errors import ConfigError
from vae_jax.sweeps.points import (
    choice,
    grid,
    log_uniform,
    parse_axes,
    parse_range,
    parse_values,
    product,
    random,
    uniform,
    whole,
    zipped,
)


def test_grid_has_all_combinations_and_the_last_field_changes_fastest():
    found = grid({"a": (1, 2), "b": "xyz"})
    assert [(p["a"], p["b"]) for p in found] == [(1, "x"), (1, "y"), (1, "z"), (2, "x"), (2, "y"), (2, "z")]


def test_zipped_fields_go_together_and_a_product_combines_sweeps():
    pairs = zipped({"a": (1, 2), "b": (3, 4)})
    assert pairs == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    assert product(pairs, grid({"c": (5, 6)}))[1] == {"a": 1, "b": 3, "c": 6}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zipped({"a": (1, 2), "b": (3,)}), "a has 2, b has 1"),
        (lambda: product([{"a": 1}], [{"a": 2}]), "a is set by two"),
        (lambda: uniform(2, 1), "the lower one first"),
        (lambda: log_uniform(0, 1), "above 0"),
        (lambda: uniform(0, math.inf), "two numbers"),
    ],
)
def test_what_does_not_go_together_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_draws_lie_in_their_range_and_are_a_function_of_the_seed():
    ranges = {"u": uniform(-1, 2), "l": log_uniform(1e-4, 1e-2), "w": whole(2, 4), "c": choice("x", "y")}
    points = random(ranges, 2000, seed=3)
    assert all(-1 <= p["u"] <= 2 and 1e-4 <= p["l"] <= 1e-2 for p in points)
    assert {p["w"] for p in points} == {2, 3, 4} and {p["c"] for p in points} == {"x", "y"}
    below = sum(p["l"] < 1e-3 for p in points) / 2000  # the geometric middle
    assert abs(below - 0.5) < 5 * 0.5 / 2000**0.5
    assert points == random(ranges, 2000, seed=3) != random(ranges, 2000, seed=4)
    assert points[:10] == random(ranges, 10, seed=3)


def test_no_point_is_drawn_twice():
    ranges = {"w": whole(2, 4), "c": choice("x", "y", "x")}
    points = random(ranges, 6)
    assert sorted((p["w"], p["c"]) for p in points) == [(w, c) for w in (2, 3, 4) for c in "xy"]
    with pytest.raises(ConfigError, match="7 points are asked for, and w, c have 6 between them"):
        random(ranges, 7)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2, 4", ["1", "2", "4"]),
        ("(500,),(200,200),()", ["(500,)", "(200,200)", "()"]),
        ("range(3)", [0, 1, 2]),
        ("range(1,10,4),20", [1, 5, 9, "20"]),
        ("linspace(0,1,3)", [0, 0.5, 1]),
        ("conv", ["conv"]),
    ],
)
def test_values_of_a_flag(text, values):
    assert parse_values(text) == values


def test_geomspace_goes_by_equal_factors_to_both_ends():
    assert parse_values("geomspace(1e-4,1e-2,3)") == pytest.approx([1e-4, 1e-3, 1e-2])


def test_ranges_of_a_flag():
    assert parse_range("log_uniform(1e-4, 1e-2)") == log_uniform(1e-4, 1e-2)
    assert parse_range("relu,tanh") == choice("relu", "tanh")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no value"),
        ("range(a)", "no series"),
        ("range(1,2,3,4)", "no series"),
        ("rnage(3)", r"rnage\(\) is unknown"),
        ("geomspace(0,1,3)", "no series"),
        ("(1,2", "parentheses"),
    ],
)
def test_values_that_are_none_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_values(text)


def test_a_range_of_whole_numbers_has_whole_ends():
    with pytest.raises(ConfigError, match=r"whole\(2\.5, 64\): expected two whole numbers"):
        parse_range("whole(2.5,64)")


def test_axes_have_a_field_each():
    assert parse_axes(["a.b=1,2", "c=3"], "--set", parse_values) == {"a.b": ["1", "2"], "c": ["3"]}
    with pytest.raises(ConfigError, match="not of the form"):
        parse_axes(["1,2"], "--set", parse_values)
    with pytest.raises(ConfigError, match="given twice"):
        parse_axes(["a=1", "a=2"], "--set", parse_values)
