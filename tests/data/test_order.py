"""The order of examples is a pure function of (seed, step)."""

import itertools

import numpy as np
import pytest

from vae_jax.data.order import batch_indices, evenly_spaced, permutation, steps_per_epoch

SIZE, BATCH = 23, 5
PER_EPOCH = 4  # 20 of 23 examples; 3 are left over, others in every epoch


def indices(start, stop, seed=0):
    return batch_indices(seed, start, stop, SIZE, BATCH)


@pytest.mark.parametrize("size, batch, steps", [(23, 5, 4), (20, 5, 4), (19, 5, 3), (5, 5, 1), (1297, 64, 20)])
def test_an_epoch_has_only_whole_batches(size, batch, steps):
    assert steps_per_epoch(size, batch) == steps
    assert batch_indices(0, 0, 2 * steps, size, batch).shape == (2 * steps, batch)


@pytest.mark.parametrize("cuts", [(0, 1, 2, 3, 17), (0, 4, 8, 17), (0, 16, 17), (0, 7, 9, 10, 17)])
def test_chunks_concatenate_to_the_whole(cuts):
    whole = indices(0, 17)
    parts = [indices(a, b) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.dtype == np.int32


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_no_example_comes_twice_in_an_epoch(seed):
    for epoch in range(20):
        seen = indices(epoch * PER_EPOCH, (epoch + 1) * PER_EPOCH, seed).ravel()
        assert len(set(seen)) == PER_EPOCH * BATCH
        assert seen.min() >= 0 and seen.max() < SIZE


def test_without_a_rest_every_epoch_is_a_permutation():
    for epoch in range(5):
        np.testing.assert_array_equal(np.sort(batch_indices(3, epoch * 4, epoch * 4 + 4, 20, 5).ravel()), range(20))


def test_epochs_and_seeds_differ_and_calls_do_not():
    first, second, other = indices(0, 4), indices(4, 8), indices(0, 4, seed=1)
    assert (first != second).any() and (first != other).any() and (second != other).any()
    np.testing.assert_array_equal(first, indices(0, 4))


def test_every_example_is_equally_likely_anywhere():
    left_out = np.zeros(SIZE)
    first = np.zeros(SIZE)
    for epoch in range(2000):
        seen = indices(epoch * PER_EPOCH, (epoch + 1) * PER_EPOCH).ravel()
        first[seen[0]] += 1
        left_out[np.setdiff1d(range(SIZE), seen)] += 1
    for counts, chance in (first, 1 / SIZE), (left_out, 3 / SIZE):
        assert np.abs(counts / 2000 - chance).max() < 4.5 * np.sqrt(chance * (1 - chance) / 2000)


def test_an_epoch_is_put_in_order_once():
    permutation.cache_clear()
    for step in range(PER_EPOCH):
        indices(step, step + 1, seed=12)
    assert permutation.cache_info().misses == 1
    with pytest.raises(ValueError, match="read-only"):
        permutation(12, 0, SIZE)[0] = 3


@pytest.mark.parametrize("size, limit, expected", [(7, 10, range(7)), (7, 7, range(7)), (10, 4, [0, 2, 5, 7])])
def test_evenly_spaced(size, limit, expected):
    assert evenly_spaced(size, limit).tolist() == list(expected)


def test_the_order_of_a_seed_stays_what_it_was():
    assert batch_indices(0, 0, 2, 8, 4).tolist() == [[0, 2, 1, 5], [4, 3, 6, 7]]
    assert batch_indices(7, 5, 6, 8, 4).tolist() == [[1, 5, 3, 2]]
