"""PCA and probabilistic PCA in closed form: the floor that every model is shown beside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Pca(NamedTuple):
    """A linear encoder and decoder, and the density of the linear-Gaussian model with the same subspace."""

    mean: np.ndarray  # [P] pixels
    components: np.ndarray  # [D,P], orthonormal rows
    noise_variance: float  # sigma^2, the mean of the discarded eigenvalues
    fitted: Any  # scikit-learn's estimator, for its likelihood

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Project [N,H,W,C] on the subspace and back."""
        flat = images.reshape(len(images), -1) - self.mean
        return (flat @ self.components.T @ self.components + self.mean).reshape(images.shape)

    def neg_log_likelihood(self, images: np.ndarray) -> np.ndarray:
        """Return -log p(x) [N], exact, in nats: a density (Tipping and Bishop 1999, equation 4)."""
        return -self.fitted.score_samples(images.reshape(len(images), -1).astype(np.float64))


def fit_pca(images: np.ndarray, latent: int) -> Pca:
    """Fit PCA with `latent` components (at most one less than the rank of the data) to images [N,H,W,C].

    The maximum-likelihood solution of probabilistic PCA has the same subspace (Tipping and Bishop 1999, section 3.2).
    """
    from sklearn.decomposition import PCA

    flat = images.reshape(len(images), -1).astype(np.float64)
    variances = np.linalg.eigvalsh(np.cov(flat.T))
    # What is left for the noise must not be zero: constant pixels, for instance, have no variance at all.
    count = min(latent, int((variances > 1e-9 * variances[-1]).sum()) - 1)
    fitted = PCA(count, svd_solver="covariance_eigh").fit(flat)
    return Pca(fitted.mean_, fitted.components_, float(fitted.noise_variance_), fitted)


def independent_bernoulli(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return -log p(x) [N] of test images in {0, 1} when each pixel is on with its frequency in train, independently.

    Frequencies are smoothed by one count of each value (Laplace), so no pixel is impossible.
    """
    on = (train.sum(axis=0, dtype=np.float64) + 1) / (len(train) + 2)
    return -(np.where(test > 0.5, np.log(on), np.log1p(-on))).reshape(len(test), -1).sum(axis=1)
