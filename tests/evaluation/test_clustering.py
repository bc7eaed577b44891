"""Measures of agreement against brute force and closed forms; partitions where they are known."""

import itertools

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from vae_jax.evaluation.clustering import agreement, contingency, gaussian_mixture, kmeans, matching


@pytest.fixture(autouse=True)
def one_thread():
    """On a machine that is busy two threads wait for each other."""
    with threadpool_limits(1):
        yield


RNG = np.random.default_rng(0)
LABELS, ASSIGNED = RNG.integers(0, 4, 200), RNG.integers(0, 5, 200)
ASSIGNED[:120] = LABELS[:120]  # related, not equal


@pytest.mark.parametrize("groups", [3, 4, 5], ids=["fewer", "as many", "more"])
def test_accuracy_is_that_of_the_best_renaming(groups):
    assigned = ASSIGNED % groups
    names = range(max(groups, 4))
    best = max((np.array(renamed)[assigned] == LABELS).mean() for renamed in itertools.permutations(names, groups))
    assert agreement(LABELS, assigned)["accuracy"] == pytest.approx(best)


def test_nmi_and_ari_are_their_formulas():
    counts = contingency(LABELS, ASSIGNED).astype(np.float64)
    p, rows, columns = counts / counts.sum(), counts.sum(1), counts.sum(0)
    outer = np.outer(rows, columns) / counts.sum() ** 2
    information = (p[p > 0] * np.log(p[p > 0] / outer[p > 0])).sum()
    entropies = [-(m / m.sum() * np.log(m / m.sum())).sum() for m in (rows, columns)]

    def pairs(values):
        return (values * (values - 1) / 2).sum()

    expected = pairs(rows) * pairs(columns) / pairs(counts.sum())
    ari = (pairs(counts) - expected) / ((pairs(rows) + pairs(columns)) / 2 - expected)
    found = agreement(LABELS, ASSIGNED)
    assert found["nmi"] == pytest.approx(information / np.mean(entropies))
    assert found["ari"] == pytest.approx(ari)


def test_agreement_is_one_under_any_renaming_and_small_by_chance():
    perfect = agreement(LABELS, (LABELS + 2) % 4)
    assert perfect == pytest.approx({"accuracy": 1, "nmi": 1, "ari": 1})
    chance = agreement(RNG.integers(0, 10, 20000), RNG.integers(0, 10, 20000))
    assert chance["accuracy"] < 0.12 and chance["nmi"] < 0.002 and abs(chance["ari"]) < 0.002


def test_matching_is_one_to_one():
    counts = np.array([[9, 8, 0], [8, 0, 0], [0, 0, 1]])
    assert matching(counts) == {0: 1, 1: 0, 2: 2}, "16 of two groups, not 9 of the first choice"


def blobs():
    labels = np.arange(300) % 3
    vectors = np.array([[0, 0], [8, 0], [0, 8]])[labels] + np.random.default_rng(1).normal(size=(300, 2))
    return vectors.astype(np.float32), labels, np.stack([vectors[labels == i].mean(axis=0) for i in range(3)])


@pytest.mark.parametrize("method", [kmeans, gaussian_mixture])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_separate_groups_are_found_at_any_scale(method, scale):
    vectors, labels, centres = blobs()
    groups = method(scale * vectors, 3)
    assert agreement(labels, groups.assigned)["accuracy"] > 0.99
    order = np.argsort(groups.centres @ [1, 2])
    np.testing.assert_allclose(groups.centres[order], scale * centres, atol=0.01 * scale)


def test_the_objective_of_kmeans_is_the_mean_squared_distance():
    vectors, _, _ = blobs()
    groups = kmeans(vectors, 3)
    away = np.square(vectors - groups.centres[groups.assigned]).sum(axis=1).mean()
    assert groups.objective == pytest.approx(away, rel=1e-5)
    nearest = np.square(vectors[:, None] - groups.centres).sum(-1).argmin(1)
    np.testing.assert_array_equal(groups.assigned, nearest)


def test_the_objective_of_the_mixture_is_a_density_in_the_units_of_the_vectors():
    vectors = np.random.default_rng(0).normal(size=(4000, 3)) * 5
    entropy = 3 * (0.5 * np.log(2 * np.pi * np.e) + np.log(5))
    assert gaussian_mixture(vectors, 2).objective == pytest.approx(entropy, abs=0.05)


def test_a_mixture_tells_a_narrow_group_from_a_wide_one():
    labels = np.arange(600) % 2
    spread, centre = np.array([3.0, 0.3])[labels, None], np.array([[0, 0], [4, 0]])[labels]
    vectors = centre + spread * np.random.default_rng(0).normal(size=(600, 2))
    assert agreement(labels, gaussian_mixture(vectors, 2).assigned)["accuracy"] > 0.97
    assert agreement(labels, kmeans(vectors, 2).assigned)["accuracy"] < 0.95


def test_equal_vectors_are_grouped_without_a_word():
    for method in kmeans, gaussian_mixture:
        assert len(method(np.ones((50, 3), np.float32), 2).assigned) == 50


def test_partitions_come_out_the_same_again():
    vectors = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    for method in kmeans, gaussian_mixture:
        np.testing.assert_array_equal(method(vectors, 3).assigned, method(vectors, 3).assigned)
