"""Partners differ in exactly as many factors as asked for, stay in the split, and are the same wherever computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.data.dataset import Dataset, Split
from vae_jax.data.feed import make_feed
from vae_jax.data.order import Order, batch_indices, permutation
from vae_jax.data.pairs import make_pairs
from vae_jax.data.stream import Pieces
from vae_jax.errors import ConfigError

FACTORS = {"shape": 3, "style": 1, "scale": 4, "x": 5}
COUNTS = tuple(FACTORS.values())
GRID = np.stack(np.unravel_index(np.arange(60), COUNTS), -1).astype(np.int32)
ORDER = permutation(0, 0, 60)
TRAIN = GRID[ORDER[:52]]
CONFIG = {"pixels": "unit", "corruption": None, "seed": 0, "pairs": 1, "memory_mb": 1.0}


def partners(changed=1, epoch=0, seed=0, factors=TRAIN):
    """Return the numbers of all partners, and whether each factor differs [N,F]."""
    pairs = make_pairs(Split(None, factors=factors), FACTORS, changed, seed)
    chosen = pairs.of(np.arange(len(factors), dtype=np.int32), epoch)
    return chosen, factors[chosen] != factors


def many(changed, factors=GRID, epochs=400):
    return np.stack([partners(changed, epoch, factors=factors)[1] for epoch in range(epochs)])


def dataset():
    """Pictures that show their factors: 4 pixels, each a factor."""
    parts = {"train": ORDER[:52], "validation": ORDER[52:56], "test": ORDER[56:]}
    splits = {
        name: Split(GRID[i].astype(np.uint8).reshape(-1, 2, 2, 1), GRID[i, 0], GRID[i]) for name, i in parts.items()
    }
    return Dataset("grid", splits, 5, 3, "", FACTORS)


@pytest.mark.parametrize("changed", [1, 2])
def test_partners_differ_in_exactly_so_many_factors_and_are_in_the_split(changed):
    for epoch in range(20):
        chosen, differs = partners(changed, epoch)
        assert (differs.sum(1) == changed).all() and chosen.dtype == np.int32
        assert not differs[:, 1].any()  # the factor of one value


def test_the_changed_factor_and_its_new_value_are_uniform():
    differs = many(1)
    for column, share in zip((0, 2, 3), differs.mean((0, 1))[[0, 2, 3]], strict=True):
        assert share == pytest.approx(1 / 3, abs=4.5 * np.sqrt(2 / 9 / (400 * 60))), column
    chosen = np.stack([partners(1, epoch, factors=GRID)[0] for epoch in range(4000)])[:, 0]
    counts = np.bincount(GRID[chosen, 3], minlength=5)[1:]  # the new x of the example 0, where it changed
    assert np.abs(counts - 4000 / 12).max() < 4.5 * np.sqrt(4000 / 12)


def test_a_random_number_of_factors_is_uniform_over_1_to_all_but_one():
    number = many(0).sum(-1)
    assert set(np.unique(number)) == {1, 2}
    assert (number == 1).mean() == pytest.approx(0.5, abs=4.5 * 0.5 / np.sqrt(number.size))


def test_partners_change_with_epoch_and_seed_and_depend_on_nothing_else():
    usual, again = partners()[0], partners()[0]
    np.testing.assert_array_equal(usual, again)
    for other in partners(epoch=1), partners(seed=1), partners(changed=2):
        assert (usual != other[0]).mean() > 0.5
    pairs = make_pairs(Split(None, factors=TRAIN), FACTORS, 1, 0)
    few = np.array([7, 3, 3, 50], np.int32)
    np.testing.assert_array_equal(pairs.of(few, 0), usual[few])
    later = partners(epoch=1)[0]
    expected = [usual[7], later[3], usual[3], later[50]]
    np.testing.assert_array_equal(pairs.of(few, np.array([0, 1, 0, 1])), expected)


@pytest.mark.parametrize("changed", [0, 1])
def test_the_devices_compute_what_the_host_does(changed):
    pairs, index = make_pairs(Split(None, factors=TRAIN), FACTORS, changed, 2**32 - 1), np.arange(52, dtype=np.int32)
    compiled = jax.jit(lambda pairs, index, epoch: pairs.of(index, epoch))
    for epoch in 0, 9:
        found = compiled(jax.device_put(pairs), jnp.asarray(index), epoch)
        np.testing.assert_array_equal(found, pairs.of(index, epoch))


def test_whoever_has_no_partner_is_its_own():
    lonely = np.concatenate([GRID[GRID[:, 3] > 0], GRID[:1]])  # x is 0 in one only, and its shape and scale...
    lonely = lonely[(lonely[:, 3] == 0) | (lonely[:, [0, 2]] != 0).any(1)]  # ...are those of no other
    chosen, differs = partners(1, factors=lonely)
    assert chosen[-1] == len(lonely) - 1 and (differs[:-1].sum(1) == 1).all()


@pytest.mark.parametrize("memory_mb", [0.0, 1.0])
def test_a_batch_has_the_pictures_of_its_partners_in_training_only(memory_mb):
    config, data, index = CONFIG | {"memory_mb": memory_mb}, dataset(), np.arange(52, dtype=np.int32)
    feed = make_feed(config, data, "train")
    for epoch in 0, 3:
        batch = feed.batch(feed.arrays, feed.row(index, epoch), epoch)
        expected = make_pairs(data.splits["train"], FACTORS, 1, 0).of(index, epoch)
        np.testing.assert_array_equal(batch["partner"]["index"], expected)
        for name in "image", "input":
            np.testing.assert_array_equal(batch["partner"][name], batch[name][expected])
        np.testing.assert_array_equal(batch["partner"]["label"], batch["label"][expected])
    other = make_feed(config, data, "test")
    assert "partner" not in other.batch(other.arrays, other.row(np.arange(4), 0), 0)
    assert "partner" not in make_feed(CONFIG | {"pairs": None}, data, "train").compiled(dict)(index)


def test_what_is_drawn_for_a_partner_is_what_is_drawn_for_it_as_an_example():
    config = CONFIG | {"pixels": "dynamic", "corruption": {"name": "masking", "probability": 0.5}}
    feed = make_feed(config, dataset(), "train")
    batch = feed.batch(feed.arrays, np.arange(52, dtype=np.int32), 2)
    for name in "image", "input":
        np.testing.assert_array_equal(batch["partner"][name], batch[name][batch["partner"]["index"]])


def test_a_streamed_step_has_the_partners_of_its_epoch():
    feed = make_feed(CONFIG | {"memory_mb": 0.0}, dataset(), "train")
    piece = Pieces(feed.row, Order(0, 52, 20), 3)[1]  # the steps 3..5 are of the epochs 1, 2 and 2
    pairs, index = make_pairs(dataset().splits["train"], FACTORS, 1, 0), batch_indices(0, 3, 6, 52, 20)
    np.testing.assert_array_equal(piece["index"], index)
    for step, epoch in enumerate((1, 2, 2)):
        np.testing.assert_array_equal(piece["partner_index"][step], pairs.of(index[step], epoch))
    assert piece["partner_image"].shape == (3, 20, 2, 2, 1)


@pytest.mark.parametrize(
    "factors, names, changed, message",
    [
        (None, {}, 1, "data whose factors are known"),
        (GRID[:, :1], {"shape": 3}, 1, "data whose factors are known"),
        (GRID, FACTORS, 3, "no factor in common; expected at most 2"),
        (GRID[:29], FACTORS, 1, "the 29 of the training split are less than half of 60"),
    ],
)
def test_data_without_pairs_are_refused(factors, names, changed, message):
    with pytest.raises(ConfigError, match=f"data.pairs={changed} .*{message}"):
        make_pairs(Split(None, factors=factors), names, changed, 0)
