"""What restores damaged pictures without a network: the linear optimum, the median filter, PCA."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from vae_jax.evaluation.baselines import Pca

_RANK = 1e-10  # eigenvalues of a covariance below this share of the largest are rounding


class Linear(NamedTuple):
    """The affine map from a damaged picture y to the clean one: x* = mean + matrix (y - input_mean)."""

    mean: np.ndarray  # [P] of the clean pictures
    input_mean: np.ndarray  # [Q] of the damaged ones
    matrix: np.ndarray  # [P,Q]

    def restore(self, inputs: np.ndarray) -> np.ndarray:
        """Return x* [N,P] of damaged pictures [N,...] of Q values each."""
        return (inputs.reshape(len(inputs), -1) - self.input_mean) @ self.matrix.T + self.mean


def fit_linear(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Linear:
    """Return the affine map of least squared error from damaged to clean pictures: Cov(x, y) Cov(y, y)^+.

    This is least squares without a penalty; directions in which damaged pictures do not vary are left out.

    Args:
        pairs: blocks of (clean [n,...], damaged [n,...]); they are seen once, and only their moments are kept.
    """
    import scipy.linalg

    moments: Any = None
    for images, inputs in pairs:
        x, y = (block.reshape(len(block), -1).astype(np.float64) for block in (images, inputs))
        if moments is None:
            start_x, start_y = x.mean(axis=0), y.mean(axis=0)  # moments about a point near the mean do not cancel
            moments = [0, 0.0, 0.0, 0.0, 0.0]
        x, y = x - start_x, y - start_y
        for i, part in enumerate((len(x), x.sum(axis=0), y.sum(axis=0), x.T @ y, y.T @ y)):
            moments[i] = moments[i] + part
    count, x, y, xy, yy = moments
    x, y = x / count, y / count
    inverse = scipy.linalg.pinvh(yy / count - np.outer(y, y), rtol=_RANK)
    return Linear(x + start_x, y + start_y, (xy / count - np.outer(x, y)) @ inverse)


def wiener(images: np.ndarray, scale: float) -> Linear:
    """Return the linear optimum for normal noise of standard deviation `scale` added to pictures like `images`.

    C (C + scale^2 I)^-1 with the covariance C of the images [N,H,W,C], so U diag(l / (l + scale^2)) U^T with its
    eigenvalues l: `fit_linear` with the expectation over the noise taken exactly.
    """
    import scipy.linalg

    flat = images.reshape(len(images), -1)
    mean, covariance = flat.mean(axis=0, dtype=np.float64), np.zeros((flat.shape[1],) * 2)
    for block in np.array_split(flat, -(-len(flat) // 1000)):
        block = block - mean
        covariance += block.T @ block / len(flat)
    noisy = covariance + scale**2 * np.eye(len(covariance))
    return Linear(mean, mean, scipy.linalg.solve(noisy, covariance, assume_a="pos").T)


def median(images: np.ndarray, size: int) -> np.ndarray:
    """Replace each value by the median of the `size` x `size` ones around it, [N,H,W,C], reflected at the edges."""
    from scipy.ndimage import median_filter

    return median_filter(images, (1, size, size, 1))


def project(pca: Pca, components: int, inputs: np.ndarray) -> np.ndarray:
    """Project damaged pictures [N,H,W,C] on the first `components` of PCA of clean ones."""
    return pca._replace(components=pca.components[:components]).reconstruct(inputs)


def choose(options: Iterable[int], restore: Callable[[int], np.ndarray], images: np.ndarray) -> int:
    """Return the option whose pictures, restore(option) cut to [0, 1], have the least squared error to `images`."""
    return min(options, key=lambda option: float(np.square(np.clip(restore(option), 0, 1) - images).mean()))
