"""PSNR and SSIM against their definitions, written out."""

import numpy as np
import pytest

from vae_jax.evaluation.image_quality import psnr, ssim

RNG = np.random.default_rng(0)


def test_psnr_is_the_decibels_of_the_squared_error():
    x = np.zeros((2, 4, 5, 3))
    y = x + np.array([0.1, 0.01])[:, None, None, None]
    np.testing.assert_allclose(psnr(x, y), [20, 40])
    assert psnr(x, x)[0] == np.inf


def test_ssim_is_the_mean_over_windows_of_the_formula():
    x, y = RNG.uniform(size=(2, 13, 12))
    offsets = np.arange(-5, 6)
    line = np.exp(-0.5 * (offsets / 1.5) ** 2)
    weights = np.outer(line, line) / line.sum() ** 2
    padded = [np.pad(a, 5, mode="symmetric") for a in (x, y)]
    values = []
    for i in range(13):
        for j in range(12):
            a, b = (p[i : i + 11, j : j + 11] for p in padded)
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
            cov = (weights * (a - ma) * (b - mb)).sum()
            values.append((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    found = ssim(x[None, ..., None], y[None, ..., None])
    assert found.shape == (1,)
    assert found[0] == pytest.approx(np.mean(values), rel=1e-9)


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise():
    x = RNG.uniform(size=(3, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(ssim(x, x), 1)
    noise = RNG.normal(size=x.shape)
    assert (ssim(x, x) > ssim(x + 0.1 * noise, x)).all()
    assert (ssim(x + 0.1 * noise, x) > ssim(x + 0.4 * noise, x)).all()
