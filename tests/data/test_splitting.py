"""Splits that we cut are disjoint, complete and the same everywhere."""

import collections

import numpy as np
import pytest

from tests.refusals import refusal
from vae_jax.data.splitting import random_parts, stratified_parts

SHARES = {"validation": 0.1, "test": 0.2}


def test_random_parts_are_a_permutation_in_three():
    parts = random_parts(1000)
    assert {name: len(index) for name, index in parts.items()} == {"train": 900, "validation": 50, "test": 50}
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(1000))
    for index in parts.values():
        assert abs(index.mean() - 499.5) < 4.5 * 289 / np.sqrt(len(index))


def test_random_parts_stay_what_they_are():
    assert [index.tolist() for index in random_parts(8, 0.25, 0.25).values()] == [[3, 2, 0, 4], [5, 7], [1, 6]]


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_for_three_splits_are_refused(size):
    assert "too few" in refusal(random_parts, size)


def test_every_class_is_in_every_split_in_its_share():
    classes = ["a"] * 100 + ["b"] * 20 + ["c"] * 3
    order = np.random.default_rng(0).permutation(len(classes))
    parts = stratified_parts([classes[i] for i in order], SHARES)
    counts = {name: collections.Counter(classes[order[i]] for i in index) for name, index in parts.items()}
    assert counts == {
        "train": {"a": 70, "b": 14, "c": 1},
        "validation": {"a": 10, "b": 2, "c": 1},
        "test": {"a": 20, "b": 4, "c": 1},
    }
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(classes)))
    assert all((np.diff(index) > 0).all() for index in parts.values())


def test_a_split_that_is_not_asked_for_gets_nothing():
    assert stratified_parts(["a"] * 10, {"test": 0.1}).keys() == {"train", "test"}


def test_a_class_that_is_too_small_is_named():
    assert refusal(stratified_parts, ["a"] * 9 + ["b"] * 2, SHARES).startswith("'b' has 2 of the pictures")
