"""Batches are a pure function of (data seed, split, epoch, example); their noise has the promised statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.data.dataset import Dataset, Split
from vae_jax.data.feed import arrays, gather, make_batch_of, make_spec
from vae_jax.errors import ConfigError

GREY = np.array([0, 1, 51, 102, 128, 204, 254, 255], np.uint8)  # of 255
SPLIT = Split(np.tile(GREY, (12, 32, 1))[..., None], np.arange(12, dtype=np.int32))
ALL = np.arange(12)
MASKING = {"name": "masking", "probability": 0.5}
EPOCHS = 60  # with 12 examples of 32 rows: 23040 draws for each grey value


def batch(index=ALL, epoch=0, pixels="dynamic", corruption=None, seed=0, split="train"):
    batch_of = make_batch_of({"pixels": pixels, "corruption": corruption, "seed": seed}, split, 255)
    made = batch_of(gather(jax.device_put(arrays(SPLIT)), jnp.asarray(index)), epoch)
    return {name: np.asarray(value) for name, value in made.items()}


def over_epochs(name, **settings):
    """Return [EPOCHS,12,32,8] of what the encoder or the loss sees."""
    return np.stack([batch(epoch=epoch, **{"pixels": "unit"} | settings)[name][..., 0] for epoch in range(EPOCHS)])


def assert_near(draws, chance):
    """Compare the mean of independent 0/1 draws with their probability, to 4.5 standard errors."""
    assert abs(draws.mean() - chance) <= 4.5 * np.sqrt(chance * (1 - chance) / draws.size)


@pytest.mark.parametrize("corruption", [None, MASKING, {"name": "gaussian", "scale": 0.3}])
@pytest.mark.parametrize("groups", [([0, 1, 2, 3], [4, 5, 6, 7]), ([11, 3, 0, 7], [5, 5, 9, 1])])
def test_what_is_drawn_for_an_example_does_not_depend_on_its_batch(groups, corruption):
    whole = batch(corruption=corruption, epoch=3)
    for group in groups:
        part = batch(group, corruption=corruption, epoch=3)
        for name in ("image", "input", "label", "index"):
            np.testing.assert_array_equal(part[name], whole[name][group])


@pytest.mark.parametrize("changed", [{"epoch": 1}, {"seed": 1}, {"split": "validation"}, {"split": "test"}])
def test_draws_change_with_epoch_seed_and_split(changed):
    usual, again, other = batch(corruption=MASKING), batch(corruption=MASKING), batch(corruption=MASKING, **changed)
    for name in ("image", "input"):
        np.testing.assert_array_equal(usual[name], again[name])
        assert (usual[name] != other[name]).mean() > 0.1


def test_examples_of_the_same_picture_are_drawn_apart():
    assert len(np.unique(batch()["image"].reshape(12, -1), axis=0)) == 12


def test_unit_keeps_the_values_and_threshold_cuts_at_one_half():
    np.testing.assert_allclose(batch(pixels="unit")["image"][0, 0, :, 0], GREY / 255, rtol=1e-6)
    np.testing.assert_array_equal(batch(pixels="threshold")["image"][0, 0, :, 0], [0, 0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize("pixels", ["static", "dynamic"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_drawn_pixels_are_0_or_1_with_the_grey_value_as_mean(pixels, split):
    # a static picture stays over the epochs: other data seeds draw it anew
    varied = [{"epoch": i} if pixels == "dynamic" else {"seed": i} for i in range(EPOCHS)]
    image = np.stack([batch(pixels=pixels, split=split, **setting)["image"][..., 0] for setting in varied])
    assert set(np.unique(image)) == {0.0, 1.0}
    for column, grey in enumerate(GREY / 255):
        assert_near(image[..., column], grey)


def test_static_pixels_are_those_of_every_epoch_and_of_no_other_seed_or_split():
    first = batch(pixels="static")["image"]
    for epoch in 1, 2, 1000:
        np.testing.assert_array_equal(batch(pixels="static", epoch=epoch)["image"], first)
    for other in {"seed": 1}, {"split": "validation"}, {"split": "test"}:
        assert (batch(pixels="static", **other)["image"] != first).mean() > 0.1


def test_a_corruption_of_static_pixels_is_drawn_anew_every_epoch():
    first, second = (batch(pixels="static", corruption=MASKING, epoch=epoch) for epoch in (0, 1))
    np.testing.assert_array_equal(first["image"], second["image"])
    assert (first["input"] != second["input"]).mean() > 0.1


def test_uint8_keeps_all_256_levels_exactly_when_compiled():
    stored = {"image": np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1), "label": np.zeros(2), "index": np.arange(2)}
    batch_of = jax.jit(make_batch_of({"pixels": "uint8", "corruption": None, "seed": 0}, "train", 255))
    image = batch_of(stored, 0)["image"]
    assert image.dtype == jnp.float32
    np.testing.assert_array_equal(image.ravel(), np.arange(256, dtype=np.float32) / np.float32(255))


def test_gaussian_adds_noise_of_its_scale_to_the_input_only():
    noisy = {"corruption": {"name": "gaussian", "scale": 0.3}}
    noise = over_epochs("input", **noisy) - (GREY / 255).astype(np.float32)
    assert abs(noise.mean()) < 4.5 * 0.3 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.3, rel=4.5 / np.sqrt(2 * noise.size))
    np.testing.assert_allclose(over_epochs("image", **noisy)[7, 3, 0], GREY / 255, rtol=1e-6)


def test_masking_blackens_the_given_share():
    seen = over_epochs("input", corruption={"name": "masking", "probability": 0.2})
    grey = (GREY / 255).astype(np.float32)
    black = seen[..., 1:] == 0  # the first column is black anyway
    assert_near(black, 0.2)
    assert (black | np.isclose(seen[..., 1:], grey[1:], rtol=1e-6)).all()


def test_salt_and_pepper_are_equally_frequent():
    seen = over_epochs("input", corruption={"name": "salt_and_pepper", "probability": 0.3})[..., 1:-1]
    assert_near(seen == 0, 0.15)
    assert_near(seen == 1, 0.15)
    kept = (seen != 0) & (seen != 1)
    assert (~kept | np.isclose(seen, GREY[1:-1] / 255, rtol=1e-6)).all()


def test_binarization_and_corruption_are_independent():
    half = over_epochs("input", pixels="dynamic", corruption=MASKING)[..., 4]
    assert_near(half, 128 / 255 / 2)


def test_without_corruption_the_input_is_the_image():
    made = batch(pixels="dynamic")
    np.testing.assert_array_equal(made["input"], made["image"])
    np.testing.assert_array_equal(made["label"], ALL)
    np.testing.assert_array_equal(made["index"], ALL)


def dataset(images, levels):
    return Dataset("x", {name: Split(images) for name in ("train", "validation", "test")}, levels, 0, "")


def test_the_spec_holds_the_mean_training_picture_and_no_labels_become_zeros():
    train, rest = Split(SPLIT.images[:2] // 2), SPLIT
    spec = make_spec(Dataset("x", {"train": train, "validation": rest, "test": rest}, 255, 0, ""), "unit")
    assert (spec.shape, spec.num_classes, spec.mean.dtype) == ((32, 8, 1), 0, np.float32)
    np.testing.assert_allclose(spec.mean[0, :, 0], (GREY // 2) / 255, rtol=1e-6)
    np.testing.assert_array_equal(arrays(train)["label"], [0, 0])


@pytest.mark.parametrize(
    "pixels, dtype, levels, values",
    [
        ("unit", np.uint8, 255, "unit"),
        ("unit", np.uint8, 1, "binary"),
        ("unit", np.float32, 1, "unit"),
        ("uint8", np.uint8, 255, "levels"),
        ("threshold", np.uint8, 255, "binary"),
        ("static", np.float32, 1, "binary"),
        ("dynamic", np.uint8, 16, "binary"),
    ],
)
def test_the_spec_says_what_values_x_may_have(pixels, dtype, levels, values):
    assert make_spec(dataset(np.zeros((3, 2, 2, 1), dtype), levels), pixels).values == values


@pytest.mark.parametrize("dtype, levels", [(np.float32, 1), (np.uint8, 1), (np.uint8, 16)])
def test_uint8_is_refused_for_data_of_other_levels(dtype, levels):
    told = f"and 'x' are {np.dtype(dtype)} in 0..{levels}; set data.pixels=unit"
    with pytest.raises(ConfigError, match=f"data.pixels='uint8' needs .* 0..255, {told}"):
        make_spec(dataset(np.zeros((3, 2, 2, 1), dtype), levels), "uint8")
