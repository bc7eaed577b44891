"""Every corruption against an independent implementation or its statistics, on pictures of odd shapes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from PIL import Image

from vae_jax.build import components
from vae_jax.data import corruptions
from vae_jax.data.feed import make_batch_of
from vae_jax.errors import ConfigError

COUNT, SHAPE = 6, (9, 7, 3)
ALL = {
    "gaussian": {"scale": 0.3},
    "masking": {"probability": 0.4},
    "salt_and_pepper": {"probability": 0.4},
    "block_masking": {"size": 4},
    "gray": {},
    "blur": {"sigma": 1.3},
}
OTHER = {"scale": 0.4, "probability": 0.5, "size": 5, "sigma": 1.4}


def pictures(count=COUNT, shape=SHAPE):
    return np.random.default_rng(0).uniform(0.1, 0.9, (count, *shape)).astype(np.float32)


@functools.partial(jax.jit, static_argnums=(0, 3))
def corrupted(name, images, index, options=()):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), index)
    return getattr(corruptions, name)(keys, images, **dict(options))


def seen(name, images, index=None, **options):
    index = np.arange(len(images)) if index is None else index
    return np.asarray(corrupted(name, images, index, tuple((options or ALL[name]).items())))


def test_all_are_tested_here():
    assert components("data.corruptions").keys() == ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_corruption_is_a_function_of_key_and_picture_in_any_grouping(name):
    images = pictures()
    whole = seen(name, images)
    assert whole.shape == images.shape and whole.dtype == np.float32
    np.testing.assert_array_equal(seen(name, images), whole)
    for group in [0], [4, 1], [5, 3, 2]:
        np.testing.assert_allclose(seen(name, images[group], np.array(group)), whole[group], rtol=1e-6)


@pytest.mark.parametrize("name", ["gaussian", "masking", "salt_and_pepper", "block_masking"])
def test_equal_pictures_are_corrupted_apart(name):
    made = seen(name, np.full((30, *SHAPE), 0.5, np.float32))
    assert len(np.unique(made.reshape(30, -1), axis=0)) > 10


@pytest.mark.parametrize("name, field", [(name, field) for name, options in ALL.items() for field in options])
def test_every_field_changes_what_is_seen(name, field):
    assert np.abs(seen(name, pictures(), **{field: OTHER[field]}) - seen(name, pictures())).max() > 0.01


def test_masking_blanks_whole_pixels_and_the_given_share_of_them():
    images = pictures(2000)
    hidden = seen("masking", images, probability=0.2) == 0
    assert (hidden.all(-1) == hidden.any(-1)).all()
    assert hidden[..., 0].mean() == pytest.approx(0.2, abs=4.5 * np.sqrt(0.16 / hidden[..., 0].size))
    np.testing.assert_array_equal(np.where(hidden, 0, images), seen("masking", images, probability=0.2))


@pytest.mark.parametrize("size", [1, 4, 7])
def test_block_masking_hides_one_square_that_lies_anywhere_inside(size):
    images = pictures(3000)
    made = seen("block_masking", images, size=size)
    hidden = (made == 0).all(-1)
    np.testing.assert_array_equal(np.where(hidden[..., None], 0, images), made)
    top, left = hidden.any(2).argmax(1), hidden.any(1).argmax(1)
    places = (9 - size + 1, 7 - size + 1)
    row, column = np.arange(9)[:, None] - top[:, None, None], np.arange(7) - left[:, None, None]
    np.testing.assert_array_equal(hidden, (row >= 0) & (row < size) & (column >= 0) & (column < size))
    counts = np.bincount(top * places[1] + left, minlength=np.prod(places))
    assert counts.size == np.prod(places)
    assert counts.size == 1 or scipy.stats.chisquare(counts).pvalue > 1e-4


def test_gray_is_pillows_luminance():
    images = np.random.default_rng(1).integers(0, 256, (5, *SHAPE), np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images]) / 255
    made = seen("gray", images.astype(np.float32) / 255)
    for channel in range(3):
        np.testing.assert_allclose(made[..., channel], expected, atol=0.501 / 255)  # Pillow rounds to whole levels
    np.testing.assert_allclose(seen("gray", np.ones((1, 2, 2, 3), np.float32)), 1, rtol=1e-6)


@pytest.mark.parametrize("sigma", [1e-200, 0.3, 1.0, 2.7, 30.0])
@pytest.mark.parametrize("shape", [(9, 7, 3), (8, 8, 1), (1, 5, 2)])
def test_blur_is_scipys(shape, sigma):
    images = pictures(shape=shape)
    smooth = functools.partial(scipy.ndimage.gaussian_filter, mode="reflect", truncate=4.0)
    expected = images if sigma < 0.1 else [smooth(image.astype(np.float64), (sigma, sigma, 0)) for image in images]
    np.testing.assert_allclose(seen("blur", images, sigma=sigma), expected, atol=1e-6)


@pytest.mark.parametrize(
    "corruption, shape, message",
    [
        ({"name": "block_masking", "size": 8}, (9, 7, 1), "size=8 is more than the pictures have, 9 x 7 .* 7 or less"),
        ({"name": "gray"}, (9, 7, 1), "name='gray' needs pictures of 3 channels, and these have 1"),
    ],
)
def test_what_does_not_fit_the_pictures_is_refused_before_anything_is_compiled(corruption, shape, message):
    batch_of = make_batch_of({"pixels": "unit", "corruption": corruption, "seed": 0}, "train", 255)
    stored = {"image": jnp.zeros((2, *shape), jnp.uint8), "label": jnp.zeros(2, jnp.int32), "index": jnp.arange(2)}
    with pytest.raises(ConfigError, match=message):
        jax.eval_shape(batch_of, stored, 0)
