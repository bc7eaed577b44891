"""Probes: one where classes are separate, chance where codes say nothing, scikit-learn's answer in between."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from vae_jax.evaluation.probes import draw, knn, linear, probe

RNG = np.random.default_rng(0)
LABELS, TEST_LABELS = np.arange(600) % 3, np.arange(300) % 3


def codes(labels, distance):
    return (distance * np.eye(3)[labels] + RNG.normal(size=(len(labels), 3))).astype(np.float32)


@pytest.mark.parametrize("classify", [knn, linear])
@pytest.mark.parametrize("distance, low, high", [(12, 1, 1), (0, 0.23, 0.43)], ids=["separate", "noise"])
def test_probes_reach_one_or_chance(classify, distance, low, high):
    train, test = (codes(LABELS, distance), LABELS), (codes(TEST_LABELS, distance), TEST_LABELS)
    for per_class in 10, None:
        assert low <= probe(classify, train, test, per_class)["accuracy"] <= high


def test_knn_votes_as_scikit_learn_does_where_there_is_no_tie():
    known, asked = codes(LABELS, 2), codes(TEST_LABELS, 2)
    two = LABELS % 2  # five votes for two classes are never equal
    expected = KNeighborsClassifier(5).fit(known, two).predict(asked)
    np.testing.assert_array_equal(knn((known, two), asked), expected)


def test_the_nearer_of_equal_votes_wins():
    known = np.array([[1.0], [2.0], [3.0], [4.0], [9.0]], np.float32)
    assert knn((known, np.array([2, 1, 1, 2, 0])), np.zeros((1, 1), np.float32)) == [2]
    assert knn((known, np.array([1, 2, 2, 1, 0])), np.zeros((1, 1), np.float32)) == [1]
    assert knn((known, np.array([0, 1, 1, 1, 0])), np.zeros((1, 1), np.float32)) == [1], "three against two"


def test_linear_probe_does_not_depend_on_scale_or_place():
    known, asked = codes(LABELS, 2), codes(TEST_LABELS, 2)
    moved = linear((1000 * known + 7, LABELS), 1000 * asked + 7)
    assert (linear((known, LABELS), asked) == moved).mean() > 0.99


def test_draws_are_even_and_differ_by_seed():
    labels = np.repeat([0, 1, 4], [20, 30, 500])
    chosen = draw(labels, 15, 0)
    assert len(set(chosen)) == 45
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [15, 15, 0, 0, 15])
    np.testing.assert_array_equal(chosen, draw(labels, 15, 0))
    assert (chosen != draw(labels, 15, 1)).any()


def test_standard_errors_are_over_draws_and_over_examples():
    train, test = (codes(LABELS, 2), LABELS), (codes(TEST_LABELS, 2), TEST_LABELS)
    few, whole = probe(knn, train, test, 10), probe(knn, train, test, None)
    drawn = [draw(LABELS, 10, seed) for seed in range(5)]
    hits = [(knn((train[0][i], LABELS[i]), test[0]) == TEST_LABELS).mean() for i in drawn]
    assert (few["num_draws"], few["num_labels"]) == (5, 30) and (whole["num_draws"], whole["num_labels"]) == (1, 600)
    assert few["accuracy"] == pytest.approx(np.mean(hits))
    assert few["accuracy_standard_error"] == pytest.approx(np.std(hits, ddof=1) / 5**0.5)
    p = whole["accuracy"]
    assert whole["accuracy_standard_error"] == pytest.approx((p * (1 - p) / 299) ** 0.5)
