"""Sharpness and nearest neighbours on pictures whose answer is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vae_jax.evaluation.generation import high_frequency_share, nearest

RNG = np.random.default_rng(0)


def waves(frequency, size=16):
    """Return one picture [1,size,size,1] of so many periods across."""
    line = np.cos(2 * np.pi * frequency * np.arange(size) / size)
    return np.tile(line, (size, 1))[None, ..., None] + 0.3


@pytest.mark.parametrize("frequency, share", [(1, 0), (3, 0), (5, 1), (8, 1)])
def test_a_wave_is_low_or_high(frequency, share):
    assert high_frequency_share(waves(frequency)) == pytest.approx(share, abs=1e-9)
    assert high_frequency_share(np.swapaxes(waves(frequency), 1, 2)) == pytest.approx(share, abs=1e-9)


def test_powers_add_over_pictures_and_channels():
    both = np.concatenate([waves(1), 2 * waves(6)])
    assert high_frequency_share(both) == pytest.approx(0.8)
    assert high_frequency_share(np.concatenate([waves(1), 2 * waves(6)], -1)) == pytest.approx(0.8)


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 7, 3)])
def test_white_noise_has_the_share_of_the_area(shape):
    noise = RNG.normal(size=(4000, *shape))
    full = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :])
    expected = (full > 0.25).sum() / (full.size - 1)
    assert high_frequency_share(noise) == pytest.approx(expected, rel=0.02)


def test_blur_lowers_it_and_a_constant_has_none():
    noise = RNG.uniform(size=(20, 16, 16, 1))
    shares = [high_frequency_share(gaussian_filter(noise, (0, s, s, 0))) for s in (0, 0.5, 1, 2)]
    assert shares == sorted(shares, reverse=True)
    assert high_frequency_share(np.ones((2, 8, 8, 1))) == 0


def test_nearest_is_that_of_all_pairs(monkeypatch):
    images, gallery = RNG.uniform(size=(23, 4, 3, 2)), RNG.uniform(size=(50, 4, 3, 2))
    monkeypatch.setattr("vae_jax.evaluation.generation._BLOCK", 4 * 50 * 7)
    index, distance = nearest(images, gallery)
    every = np.sqrt(np.square(images[:, None] - gallery[None]).mean((2, 3, 4)))
    np.testing.assert_array_equal(index, every.argmin(1))
    np.testing.assert_allclose(distance, every.min(1), rtol=1e-5)
    assert nearest(gallery[:3], gallery)[1] == pytest.approx([0, 0, 0], abs=1e-6)
