"""What a trained model is given is refused where a data set would be, and numbered by its content."""

import numpy as np
import pytest

from vae_jax.data.given import given_codes, given_images, given_labels, numbers_of
from vae_jax.errors import ConfigError, DataError

IMAGES = np.random.default_rng(0).random((3, 4, 5, 1)).astype(np.float32)


def changed(value):
    images = IMAGES.astype(np.float64)
    images[2, 1, 1, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ((255 * IMAGES).astype(np.uint8), "pictures are uint8, expected float in"),
        (IMAGES > 0.5, "pictures are bool, expected float in"),
        (2 * IMAGES - 1, "expected \\[0, 1\\]"),
        (changed(np.nan), "1 values are NaN or infinite, the first in image 2"),
        (changed(1e300), "1 values are NaN or infinite, the first in image 2"),
        (changed(1.01), "float values in .*..1.01, expected"),
        (IMAGES[..., 0], "shape \\(3, 4, 5\\), and this model takes"),
        (IMAGES[:, :3], "shape \\(3, 3, 5, 1\\), and this model takes"),
        (IMAGES[:0], "an array of 0 examples"),
    ],
)
def test_pictures_that_training_would_refuse_are_refused(images, said):
    with pytest.raises(DataError, match=said):
        given_images(images, (4, 5, 1))


def test_pictures_are_kept_and_damaged_ones_may_leave_the_range():
    for kind in np.float16, np.float32, np.float64:
        assert given_images(IMAGES.astype(kind), (4, 5, 1)).dtype == np.float32
    np.testing.assert_array_equal(given_images(IMAGES, (4, 5, 1)), IMAGES)
    np.testing.assert_array_equal(given_images(changed(-3), (4, 5, 1), bounded=False), changed(-3))
    with pytest.raises(DataError, match="NaN or infinite"):
        given_images(changed(np.inf), (4, 5, 1), bounded=False)


@pytest.mark.parametrize(
    ("codes", "said"),
    [(np.zeros((2, 3)), r"shape \(2, 3\)"), (np.zeros(4), r"shape \(4,\)"), (np.full((2, 4), np.nan), "NaN")],
)
def test_codes_of_another_width_or_not_finite_are_refused(codes, said):
    with pytest.raises(DataError, match=said):
        given_codes(codes, 4)


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        (None, ConfigError, "needs the labels"),
        ([0, 3], ConfigError, "label 3 is unknown"),
        ([0, -1], ConfigError, "label -1 is unknown"),
        ([0], DataError, r"shape \(1,\), expected \(2,\)"),
        ([0.0, 1.0], DataError, "labels are float64"),
    ],
)
def test_labels_that_a_model_does_not_know_are_refused(labels, error, said):
    with pytest.raises(error, match=said):
        given_labels(labels, 2, 3)
    assert given_labels(labels, 2, 0).tolist() == [0, 0]


def test_the_number_of_a_picture_depends_on_its_values_alone():
    numbers = numbers_of(IMAGES)
    assert len(set(numbers.tolist())) == 3 and (numbers >= 0).all()
    np.testing.assert_array_equal(numbers_of(IMAGES[::-1]), numbers[::-1])
    assert numbers_of(changed(0.5).astype(np.float32))[2] != numbers[2]
