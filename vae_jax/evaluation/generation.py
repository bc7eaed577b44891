"""Figures of drawn pictures against real ones: how sharp they are, and whether they are copies."""

from __future__ import annotations

import numpy as np

_BLOCK = 20e6  # bytes of distances that are held at once


def high_frequency_share(images: np.ndarray, cutoff: float = 0.5) -> float:
    """Return the share of the power of pictures [N,H,W,C] that lies in high spatial frequencies, 0 to 1.

    The power is that of the discrete Fourier transform of each channel without its mean, summed over all pictures;
    high are the frequencies whose radius is more than `cutoff` of the Nyquist frequency. Blur lowers it, noise raises
    it: it is read beside that of the data, and pictures of another size have another one.
    """
    height, width = images.shape[1:3]
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    # A real picture's spectrum is symmetric: the columns that rfft leaves out equal those that it keeps.
    weight = np.where((np.arange(width // 2 + 1) == 0) | (2 * np.arange(width // 2 + 1) == width), 1.0, 2.0)
    power = np.zeros(radius.shape)
    for image in images:
        power += np.square(np.abs(np.fft.rfft2(image, axes=(0, 1)))).sum(-1)
    power = power * weight
    power[0, 0] = 0
    total = power.sum()
    return float(power[radius > 0.5 * cutoff].sum() / total) if total else 0.0


def nearest(images: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index [N] of the picture of `gallery` nearest to each of `images`, and the distances [N].

    The distance is the root of the mean squared difference of the pixels, exact.
    """
    flat, others = (values.reshape(len(values), -1).astype(np.float32) for values in (images, gallery))
    norms = np.square(others).sum(1)
    index = np.empty(len(flat), np.int64)
    size = max(1, int(_BLOCK // (4 * len(others))))
    for start in range(0, len(flat), size):
        index[start : start + size] = (norms - 2 * flat[start : start + size] @ others.T).argmin(1)
    return index, np.sqrt(np.square(flat - others[index]).mean(1, dtype=np.float64))
