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


def test_bce_is_the_cross_entropy_of_the_sigmoid_of_the_output(x_and_output):
    x, out = x_and_output
    p = scipy.special.expit(out.astype(np.float64))
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).mean((1, 2, 3))
    distance = distances.bce()
    np.testing.assert_allclose(distance.between(x, out), expected, rtol=1e-5)
    np.testing.assert_allclose(distance.picture(out), p, rtol=1e-5)
