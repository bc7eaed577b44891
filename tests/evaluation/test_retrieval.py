"""Nearest neighbours against brute force, and precision and recall where the answer is known."""

import numpy as np
import pytest

from vae_jax.evaluation.retrieval import Neighbours, make_index, precision_at, recall, without_self


def vectors(count, size, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def brute_force(known, queries, num):
    distance = np.sqrt(np.square(queries[:, None].astype(np.float64) - known).sum(axis=-1))
    index = np.argsort(distance, axis=1, kind="stable")[:, :num]
    return np.take_along_axis(distance, index, 1), index


@pytest.mark.parametrize("count, size, num", [(300, 3, 7), (50, 40, 50), (1, 2, 1)])
@pytest.mark.parametrize("offset", [0, 1000], ids=["centred", "far from the origin"])
def test_exact_search_is_brute_force(count, size, num, offset):
    known, queries = vectors(count, size) + np.float32(offset), vectors(64, size, seed=1) + np.float32(offset)
    found = make_index(known).search(queries, num)
    distance, index = brute_force(known, queries, num)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-12)


def test_no_answer_depends_on_how_many_queries_are_asked_at_once():
    known, queries = vectors(500, 8), vectors(60, 8, seed=1)
    for approximate in False, True:
        index = make_index(known, approximate)
        together = index.search(queries, 5)
        alone = [index.search(query[None], 5) for query in queries]
        np.testing.assert_array_equal(together.index, np.concatenate([one.index for one in alone]))
        np.testing.assert_array_equal(together.distance, np.concatenate([one.distance for one in alone]))


def test_equal_distances_come_in_the_order_of_the_vectors():
    known = np.repeat(vectors(3, 4), 5, axis=0)
    found = make_index(known).search(known[:1], 10)
    np.testing.assert_array_equal(found.index[0, :5], np.arange(5))
    np.testing.assert_array_equal(found.distance[0, :5], 0)


def test_more_neighbours_than_vectors_are_all_vectors():
    assert make_index(vectors(4, 2)).search(vectors(3, 2, 1), 9).index.shape == (3, 4)


def test_approximate_search_finds_nearly_all_and_comes_out_the_same_again():
    known, queries = vectors(5000, 10), vectors(200, 10, seed=1)
    exact, first, again = (make_index(known, a).search(queries, 10) for a in (False, True, True))
    share = recall(first.index, exact.index).mean()
    assert 0.85 < share < 1, "an eighth of the cells: good, and not everything"
    np.testing.assert_array_equal(first.index, again.index)


def test_approximate_search_is_exact_where_its_cells_hold_too_few():
    known, queries = vectors(100, 3), vectors(20, 3, seed=1)
    found, exact = make_index(known, approximate=True).search(queries, 90), make_index(known).search(queries, 90)
    np.testing.assert_array_equal(found.index, exact.index)


def test_a_query_is_not_its_own_neighbour():
    known = vectors(40, 3)
    found = without_self(make_index(known).search(known, 6))
    distance, index = brute_force(known, known, 6)
    np.testing.assert_array_equal(found.index, index[:, 1:])
    np.testing.assert_allclose(found.distance, distance[:, 1:], rtol=1e-12)


def test_a_query_that_its_copies_hide_loses_its_last_neighbour():
    hidden = Neighbours(np.zeros((3, 2)), np.array([[0, 1], [0, 1], [0, 1]]))
    np.testing.assert_array_equal(without_self(hidden).index, [[1], [0], [0]])


def test_precision_counts_labels_among_the_first():
    found = np.array([[7, 7, 1, 7], [1, 2, 2, 3], [0, 0, 0, 0]])
    precision = precision_at([1, 2, 4], found, np.array([7, 2, 5]))
    np.testing.assert_array_equal(precision[1], [1, 0, 0])
    np.testing.assert_array_equal(precision[2], [1, 0.5, 0])
    np.testing.assert_array_equal(precision[4], [0.75, 0.5, 0])


def test_precision_is_one_on_separate_classes_and_chance_on_noise():
    labels = np.arange(400) % 4
    apart = vectors(400, 2) + 100 * labels[:, None].astype(np.float32)
    for codes, expected in (apart, 1.0), (vectors(400, 2), 0.25):
        found = without_self(make_index(codes).search(codes, 11))
        assert precision_at([10], labels[found.index], labels)[10].mean() == pytest.approx(expected, abs=0.04)


def test_recall_is_the_share_in_common_in_any_order():
    np.testing.assert_allclose(recall(np.array([[3, 1, 9], [4, 5, 6]]), np.array([[1, 2, 3], [6, 5, 4]])), [2 / 3, 1])
