"""The distances of a plain autoencoder are what their names say: means over pixels."""

import jax
import numpy as np
import pytest
import scipy.ndimage
import scipy.special

from vae_jax.precision import with_products
from vae_jax.prob import distances


@pytest.fixture
def x_and_output():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(4, 3, 5, 1)).astype(np.float32), rng.normal(size=(4, 3, 5, 1)).astype(np.float32)


@pytest.mark.parametrize(
    "name, linear, expected",
    [
        ("mse", True, lambda x, p: np.square(x - p)),
        ("mae", True, lambda x, p: np.abs(x - p)),
        ("sigmoid_mae", False, lambda x, p: np.abs(x - p)),
        ("bce", False, lambda x, p: -(x * np.log(p) + (1 - x) * np.log(1 - p))),  # the cross-entropy
    ],
)
def test_distances_of_the_output_or_of_its_sigmoid(name, linear, expected, x_and_output):
    x, out = x_and_output
    p, distance = out if linear else scipy.special.expit(out.astype(np.float64)), getattr(distances, name)()
    np.testing.assert_allclose(distance.between(x, out), expected(x, p).mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(distance.picture(distance.offset(x)), x, atol=0 if linear else 5e-3)
    np.testing.assert_allclose(distance.picture(out), p, rtol=0 if linear else 1e-5)


def test_chroma_is_the_squared_error_of_the_differences_between_channels():
    rng = np.random.default_rng(0)
    x, out = rng.uniform(size=(2, 4, 3, 5, 3))
    distance = distances.chroma()
    # The squared distances from a mean are the squared differences of all pairs over their number.
    pairs = sum(np.square((x - out)[..., i] - (x - out)[..., j]) for i, j in ((0, 1), (0, 2), (1, 2))) / 3
    for gray in 0, rng.uniform(size=(4, 3, 5, 1)):
        np.testing.assert_allclose(distance.between(x, out + gray), pairs.mean((1, 2)) / 3, rtol=1e-5)


def test_chroma_shows_the_colour_at_half_brightness():
    out = np.random.default_rng(0).normal(size=(4, 3, 5, 3))
    picture = np.asarray(distances.chroma().picture(out))
    np.testing.assert_allclose(picture.mean(-1), 0.5, atol=1e-6)
    np.testing.assert_allclose(picture[..., 0] - picture[..., 2], out[..., 0] - out[..., 2], atol=1e-5)


def logits(p):
    return scipy.special.logit(np.clip(p, 1e-7, 1 - 1e-7)).astype(np.float32)


def ms_ssim_by_scipy(x, y, weights):
    """MS-SSIM of two pictures [H,W], its windows cut off at the border by dividing by what lies within."""

    def blur(values):
        inside = scipy.ndimage.gaussian_filter(np.ones_like(values), 1.5, mode="constant", radius=5)
        return scipy.ndimage.gaussian_filter(values, 1.5, mode="constant", radius=5) / inside

    result = 1.0
    for j, weight in enumerate(weights):
        mean_x, mean_y, cov = blur(x), blur(y), blur(x * y)
        var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, cov - mean_x * mean_y
        factor = (2 * cov + 9e-4) / (var_x + var_y + 9e-4)
        if j == len(weights) - 1:
            factor = factor * (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
        result *= factor.mean() ** weight
        x, y = (v[: 2 * (len(v) // 2), : 2 * (v.shape[1] // 2)] for v in (x, y))
        x, y = (v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2).mean((1, 3)) for v in (x, y))
    return result


@pytest.mark.parametrize("shape, scales", [((9, 7), 1), ((12, 13), 2), ((28, 28), 3)])
def test_ms_ssim_is_that_of_scipys_filters(shape, scales):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(2, *shape, 2))
    y = np.clip(x + 0.3 * rng.normal(size=x.shape), 0.01, 0.99)
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
    weights /= weights.sum()
    similar = [[ms_ssim_by_scipy(x[i, ..., c], y[i, ..., c], weights) for c in range(2)] for i in range(2)]
    found = jax.jit(distances.ms_ssim().between)(x, logits(y))
    np.testing.assert_allclose(found, 1 - np.mean(similar, 1), atol=2e-4)


def test_ms_ssim_keeps_its_variances_in_short_products():
    noise = 0.01 * np.random.default_rng(0).normal(size=(2, 28, 28, 1))
    x, y = np.full((2, 28, 28, 1), 0.6, np.float32), (0.6 + noise).astype(np.float32)
    between = distances.ms_ssim().between
    short = jax.jit(with_products("bf16", between))(x, logits(y))
    np.testing.assert_allclose(short, jax.jit(between)(x, logits(y)), rtol=1e-3)


def test_ms_ssim_is_symmetric_and_zero_of_equal_pictures_only():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.01, 0.99, size=(2, 3, 12, 12, 1))
    between = jax.jit(distances.ms_ssim().between)
    np.testing.assert_allclose(between(x, logits(x)), 0, atol=1e-4)
    np.testing.assert_allclose(between(x, logits(y)), between(y, logits(x)), rtol=1e-4)
    assert (between(x, logits(y)) > 0.1).all()


def test_ms_ssim_has_a_finite_gradient_where_pictures_are_each_others_negative():
    x = np.random.default_rng(0).integers(0, 2, size=(2, 12, 12, 1)).astype(np.float32)
    value, gradient = jax.jit(jax.value_and_grad(lambda out: distances.ms_ssim().between(x, out).sum()))(4 - 8 * x)
    assert 1.9 < value <= 2
    assert np.isfinite(gradient).all()
