"""Luminance and chroma against their definition, and pictures put together from them."""

import numpy as np
import pytest
from PIL import Image

from vae_jax.data import corruptions
from vae_jax.evaluation.chroma import chroma, coloured, luminance

RNG = np.random.default_rng(0)


def test_luminance_and_chroma_are_those_of_jpeg():
    pixels = RNG.integers(0, 256, (1, 9, 7, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels[0]).convert("YCbCr"))[None] / 255
    found = np.concatenate([luminance(pixels / 255), chroma(pixels / 255) + 128 / 255], -1)
    np.testing.assert_allclose(found, expected, atol=1.01 / 255)


def test_luminance_is_what_the_gray_corruption_shows():
    images = RNG.uniform(size=(2, 4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(corruptions.gray(None, images), np.repeat(luminance(images), 3, -1), atol=1e-6)


def test_chroma_reaches_to_a_half():
    red, blue = np.array([[1.0, 0, 0], [0, 0, 1]]).reshape(2, 1, 1, 1, 3)
    assert (chroma(red)[..., 1], chroma(blue)[..., 0]) == (pytest.approx(0.5), pytest.approx(0.5))


def test_a_picture_is_put_together_again():
    images = RNG.uniform(size=(2, 4, 5, 3))
    np.testing.assert_allclose(coloured(luminance(images), chroma(images)), images, atol=1e-12)
    gray = np.full((1, 2, 2, 3), 0.3)
    np.testing.assert_allclose(coloured(luminance(gray), np.zeros((1, 2, 2, 2))), gray)


def test_luminance_is_kept_where_no_colour_has_this_chroma():
    y, wanted = RNG.uniform(size=(3, 8, 8, 1)), RNG.uniform(-0.5, 0.5, (3, 8, 8, 2))
    y[0, 0, :2, 0] = 0, 1  # black and white have no colour
    found = coloured(y, wanted)
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(luminance(found), y, atol=1e-12)
    scale = chroma(found) / wanted
    np.testing.assert_allclose(scale[..., 0], scale[..., 1], atol=1e-9)
    assert (scale < 0.99).any() and (np.abs(scale - 1) < 1e-9).any() and scale.max() < 1 + 1e-9
    np.testing.assert_allclose(scale[0, 0, :2], 0, atol=1e-12)
