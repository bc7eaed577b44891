"""How near a picture comes to another: PSNR and SSIM, per example."""

from __future__ import annotations

import numpy as np

_SIGMA, _RADIUS = 1.5, 5  # of the window of SSIM: 11 x 11, as in the paper
_C1, _C2 = 0.01**2, 0.03**2


def psnr(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio -10 log10(mse) in dB, [N], of pictures [N,H,W,C] in [0, 1].

    It is infinite where they are equal. The PSNR of a set is that of its mean squared error: see `psnr_of`.
    """
    return psnr_of(np.square(images.astype(np.float64) - references).mean((1, 2, 3)))


def psnr_of(mse: np.ndarray | float) -> np.ndarray:
    """Return -10 log10(mse) in dB."""
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mse)


def ssim(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the structural similarity [N] of pictures [N,H,W,C] in [0, 1], at most 1 (Wang et al. 2004, equation 13).

    Local means and variances are weighted by a Gaussian of 1.5 pixels in a window of 11 x 11, the picture continued by
    reflection; variances are those of the population; the map is averaged over all pixels and channels.
    """
    from scipy.ndimage import gaussian_filter

    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (0, _SIGMA, _SIGMA, 0), radius=(0, _RADIUS, _RADIUS, 0))

    x, y = images.astype(np.float64), references.astype(np.float64)
    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return (luminance * structure).mean((1, 2, 3))
