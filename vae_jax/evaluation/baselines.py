"""PCA and probabilistic PCA in closed form: the floor that every model is shown beside."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_EXACT = 4096  # pixels, up to which all of the covariance is decomposed: some seconds
_RANDOMIZED_OF = 5000  # pictures that are taken beyond
_BYTES = 1e9  # of training pictures as float32
_BLOCK = 1000  # pictures that are held as float64


class Pca(NamedTuple):
    """A linear encoder and decoder, and the density of the linear-Gaussian model with the same subspace."""

    mean: np.ndarray  # [P] pixels
    components: np.ndarray  # [D,P], orthonormal rows
    variances: np.ndarray  # [D], the eigenvalues of the covariance that belong to them
    noise_variance: float  # sigma^2, the mean of the discarded eigenvalues
    solver: str  # exact or randomized

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Project [N,H,W,C] on the subspace and back."""
        flat = images.reshape(len(images), -1) - self.mean
        return (flat @ self.components.T @ self.components + self.mean).reshape(images.shape)

    def neg_log_likelihood(self, images: np.ndarray) -> np.ndarray:
        """Return -log p(x) [N], exact, in nats: a density (Tipping and Bishop 1999, equation 4)."""
        flat = images.reshape(len(images), -1) - self.mean
        codes = flat @ self.components.T
        rest = np.square(flat).sum(axis=1) - np.square(codes).sum(axis=1)
        pixels, latents = flat.shape[1], len(self.components)
        log_det = np.log(self.variances).sum() + (pixels - latents) * math.log(self.noise_variance)
        distance = (np.square(codes) / self.variances).sum(axis=1) + rest / self.noise_variance
        return 0.5 * (pixels * math.log(2 * math.pi) + log_det + distance)


def num_fitted(size: int, shape: tuple[int, int, int]) -> int:
    """Return how many of `size` training pictures [H,W,C] the baselines are fitted to: at most 1 GB of float32."""
    pixels = math.prod(shape)
    return max(1, min(size, int(_BYTES // (4 * pixels)), size if pixels <= _EXACT else _RANDOMIZED_OF))


def fit_pca(images: np.ndarray, latent: int) -> Pca:
    """Fit PCA with `latent` components (at most one less than the rank of the data) to images [N,H,W,C].

    The maximum-likelihood solution of probabilistic PCA has the same subspace (Tipping and Bishop 1999, section 3.2).
    Above 4096 pixels scikit-learn's randomized solver finds it, else the eigenvectors of the covariance are exact.
    """
    flat = images.reshape(len(images), -1)
    solve = _exact if flat.shape[1] <= _EXACT else _randomized
    mean = flat.mean(axis=0, dtype=np.float64)
    # One more than is asked for: what is left for the noise must not be zero, and constant pixels, for instance, have
    # no variance at all.
    components, variances, total = solve(flat, mean, min(latent + 1, *flat.shape))
    count = max(0, min(latent, int((variances > 1e-9 * variances[0]).sum()) - 1))
    # Pictures that are all alike have no variance; a density needs some.
    noise = max((total - variances[:count].sum()) / (flat.shape[1] - count), 1e-12)
    return Pca(mean, components[:count], variances[:count], float(noise), solve.__name__.strip("_"))


def on_frequencies(train: np.ndarray) -> np.ndarray:
    """Return how often each pixel [H,W,C] is on in images [N,H,W,C] in {0, 1}.

    Frequencies are smoothed by one count of each value (Laplace), so no pixel is impossible.
    """
    return (train.sum(axis=0, dtype=np.float64) + 1) / (len(train) + 2)


def independent_bernoulli(on: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return -log p(x) [N] of images in {0, 1} when each pixel is on with its frequency `on`, independently."""
    return -(np.where(images > 0.5, np.log(on), np.log1p(-on))).reshape(len(images), -1).sum(axis=1)


def _exact(flat: np.ndarray, mean: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the first `count` eigenvectors [D,P] of the covariance of [N,P], their eigenvalues, the sum of all."""
    import scipy.linalg

    covariance = np.zeros((flat.shape[1],) * 2)
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK] - mean
        covariance += block.T @ block
    covariance /= max(len(flat) - 1, 1)
    last = len(covariance) - 1
    variances, vectors = scipy.linalg.eigh(covariance, subset_by_index=[last - count + 1, last])
    return vectors.T[::-1], variances[::-1], float(np.trace(covariance))


def _randomized(flat: np.ndarray, mean: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Do as `_exact` does, nearly (Halko et al. 2011)."""
    del mean
    from sklearn.decomposition import PCA

    fitted = PCA(count, svd_solver="randomized", random_state=0).fit(flat)
    total = flat.var(axis=0, ddof=1, dtype=np.float64).sum()
    return fitted.components_.astype(np.float64), fitted.explained_variance_.astype(np.float64), float(total)
