"""The distances of a plain autoencoder are what their names say: means over pixels."""

import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from vae_jax.prob import distances


@pytest.fixture
def x_and_output():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(4, 3, 5, 1)).astype(np.float32), rng.normal(size=(4, 3, 5, 1)).astype(np.float32)


@pytest.mark.parametrize(
    "name, expected",
    [("mse", sklearn.metrics.mean_squared_error), ("mae", sklearn.metrics.mean_absolute_error)],
)
def test_linear_distances(name, expected, x_and_output):
    x, out = x_and_output
    distance = getattr(distances, name)()
    np.testing.assert_allclose(
        distance.between(x, out), [expected(a.ravel(), b.ravel()) for a, b in zip(x, out, strict=True)], rtol=1e-5
    )
    np.testing.assert_array_equal(distance.picture(out), out)


def test_sigmoid_mae_is_the_absolute_error_of_the_sigmoid_of_the_output(x_and_output):
    x, out = x_and_output
    p, distance = scipy.special.expit(out.astype(np.float64)), distances.sigmoid_mae()
    np.testing.assert_allclose(distance.between(x, out), np.abs(x - p).mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(distance.picture(distance.offset(x)), x, atol=5e-3)
    np.testing.assert_allclose(distance.picture(out), p, rtol=1e-5)


def test_bce_is_the_cross_entropy_of_the_sigmoid_of_the_output(x_and_output):
    x, out = x_and_output
    p = scipy.special.expit(out.astype(np.float64))
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).mean((1, 2, 3))
    distance = distances.bce()
    np.testing.assert_allclose(distance.between(x, out), expected, rtol=1e-5)
    np.testing.assert_allclose(distance.picture(out), p, rtol=1e-5)


def test_chroma_is_the_squared_error_of_the_differences_between_channels():
    rng = np.random.default_rng(0)
    x, out = rng.uniform(size=(2, 4, 3, 5, 3))
    distance = distances.chroma()
    # The squared distances from a mean are the squared differences of all pairs over their number.
    pairs = sum(np.square((x - out)[..., i] - (x - out)[..., j]) for i, j in ((0, 1), (0, 2), (1, 2))) / 3
    np.testing.assert_allclose(distance.between(x, out), pairs.mean((1, 2)) / 3, rtol=1e-5)
    np.testing.assert_allclose(
        distance.between(x, out + rng.uniform(size=(4, 3, 5, 1))), pairs.mean((1, 2)) / 3, rtol=1e-5
    )


def test_chroma_shows_the_colour_at_half_brightness():
    out = np.random.default_rng(0).normal(size=(4, 3, 5, 3))
    picture = np.asarray(distances.chroma().picture(out))
    np.testing.assert_allclose(picture.mean(-1), 0.5, atol=1e-6)
    np.testing.assert_allclose(picture[..., 0] - picture[..., 2], out[..., 0] - out[..., 2], atol=1e-5)
