"""Anomaly scores without a network, fitted on the same normal pictures: higher is more anomalous, [N].

Each takes normal training and held-out pictures [N,H,W,C] in [0, 1] and returns a function of pictures. None is tuned
on anomalies; the settings stand here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vae_jax.evaluation.baselines import fit_pca
from vae_jax.tasks.anomaly.scores import smooth_squares

_COMPONENTS = 32
_BLOCK = 1000  # pictures whose distances are held at once

Score = Callable[[np.ndarray], np.ndarray]


def pca_reconstruction(train: np.ndarray, held_out: np.ndarray) -> Score:
    """The squared error of PCA with 32 components."""
    del held_out
    pca = fit_pca(train, _COMPONENTS)
    return lambda images: np.square(pca.reconstruct(images) - images).sum((1, 2, 3))


def pca_smooth_error(train: np.ndarray, held_out: np.ndarray) -> Score:
    """As the model's `smooth_error`: the squared error of PCA's residual, smoothed by a Gaussian of one pixel."""
    del held_out
    pca = fit_pca(train, _COMPONENTS)
    return lambda images: smooth_squares(pca.reconstruct(images) - images)


def ppca(train: np.ndarray, held_out: np.ndarray) -> Score:
    """The exact -log p(x) of probabilistic PCA with 32 components, in nats."""
    del held_out
    return fit_pca(train, _COMPONENTS).neg_log_likelihood


def one_class_svm(train: np.ndarray, held_out: np.ndarray) -> Score:
    """The distance to the boundary of a one-class SVM (Schoelkopf et al. 2001) on pixels: RBF kernel, nu = 0.1.

    gamma is scikit-learn's default 1 / (pixels * variance of all values).
    """
    del held_out
    from sklearn.svm import OneClassSVM

    fitted = OneClassSVM(nu=0.1).fit(_flat(train))
    return lambda images: -fitted.decision_function(_flat(images))


def kernel_density(train: np.ndarray, held_out: np.ndarray) -> Score:
    """-log of a Gaussian kernel density estimate on pixels, up to a constant, in nats.

    Of the bandwidths 0.05, 0.1, 0.2, ..., 1.0 it has the one under which the held-out normal pictures are likeliest.
    """
    widths = np.array([0.05, *np.arange(0.1, 1.01, 0.1)])
    found = [_neg_log_kernels(train, held_out, width).mean() + train[0].size * np.log(width) for width in widths]
    best = widths[int(np.argmin(found))]
    return lambda images: _neg_log_kernels(train, images, best)


def isolation_forest(train: np.ndarray, held_out: np.ndarray) -> Score:
    """The score of an isolation forest (Liu et al. 2008) on pixels: 100 trees of 256 pictures each."""
    del held_out
    from sklearn.ensemble import IsolationForest

    fitted = IsolationForest(random_state=0).fit(_flat(train))
    return lambda images: -fitted.score_samples(_flat(images))


BASELINES = (pca_reconstruction, pca_smooth_error, ppca, one_class_svm, kernel_density, isolation_forest)


def fit_baselines(train: np.ndarray, held_out: np.ndarray) -> dict[str, Score]:
    """Return every baseline by name, fitted on normal pictures."""
    return {fit.__name__: fit(train, held_out) for fit in BASELINES}


def _neg_log_kernels(train: np.ndarray, images: np.ndarray, width: float) -> np.ndarray:
    """Return -log mean_i exp(-|x - x_i|^2 / 2 width^2) of pictures, [N]."""
    from sklearn.metrics.pairwise import euclidean_distances

    centres, found = _flat(train), []
    for start in range(0, len(images), _BLOCK):
        exponent = euclidean_distances(_flat(images[start : start + _BLOCK]), centres, squared=True) / (2 * width**2)
        least = exponent.min(axis=1)
        found.append(least - np.log(np.exp(least[:, None] - exponent).mean(axis=1, dtype=np.float64)))
    return np.concatenate(found)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)
