"""Groups found without labels, and how well they agree with labels."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_STARTS = {"kmeans": 20, "gmm": 5}  # initialisations; the best by its own objective is kept


class Groups(NamedTuple):
    """A partition of vectors."""

    assigned: np.ndarray  # [N] the group of each vector, 0..K-1
    centres: np.ndarray  # [K,D]
    objective: float  # k-means: mean squared distance to the centre; mixture: mean -log p, in nats


def kmeans(vectors: np.ndarray, num: int, seed: int = 0) -> Groups:
    """Partition vectors [N,D] by k-means (Lloyd 1982), the best of 20 starts by its sum of squares."""
    from sklearn.cluster import KMeans

    with _without_warnings():  # of equal vectors there are fewer groups
        fitted = KMeans(num, n_init=_STARTS["kmeans"], random_state=seed).fit(vectors)
    return Groups(fitted.labels_, fitted.cluster_centers_, float(fitted.inertia_ / len(vectors)))


def gaussian_mixture(vectors: np.ndarray, num: int, seed: int = 0) -> Groups:
    """Partition vectors [N,D] by the most probable component of a mixture of normal distributions.

    The covariances are full. It is the best of 5 starts from k-means by its likelihood. Values are divided by one
    number first, so that the least variance of a component, 1e-6 of the mean variance, has no scale.
    """
    from sklearn.mixture import GaussianMixture

    scale = _scale(vectors)
    model = GaussianMixture(num, n_init=_STARTS["gmm"], max_iter=200, random_state=seed)
    with _without_warnings():  # what is found after 200 steps is good enough
        assigned = model.fit_predict(vectors.astype(np.float64) / scale)
    nats = vectors.shape[1] * np.log(scale) - model.score(vectors.astype(np.float64) / scale)
    return Groups(assigned, model.means_ * scale, float(nats))


def agreement(labels: np.ndarray, assigned: np.ndarray) -> dict[str, float]:
    """Return how well groups [N] agree with labels [N]: three figures that no renaming of the groups changes.

    accuracy: share of the examples whose group is matched with their label, under the best matching of groups with
    labels, one to one (Yang et al. 2010, equation 6; "ACC" in Xie et al. 2016); nmi: mutual information divided by the
    arithmetic mean of the entropies; ari: Rand index, corrected for chance (Hubert and Arabie 1985).
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    counts = contingency(labels, assigned)
    return {
        "accuracy": float(sum(counts[group, label] for group, label in matching(counts).items()) / len(labels)),
        "nmi": float(normalized_mutual_info_score(labels, assigned)),
        "ari": float(adjusted_rand_score(labels, assigned)),
    }


def contingency(labels: np.ndarray, assigned: np.ndarray) -> np.ndarray:
    """Return how many examples each group has of each label, [groups, labels]."""
    counts = np.zeros((assigned.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (assigned, labels), 1)
    return counts


def matching(counts: np.ndarray) -> dict[int, int]:
    """Return {group: label}, one to one, with the largest sum of counts [groups, labels] (Kuhn 1955).

    Of unequal numbers the surplus is left out.
    """
    from scipy.optimize import linear_sum_assignment

    return {int(group): int(label) for group, label in zip(*linear_sum_assignment(counts, maximize=True), strict=True)}


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _scale(vectors: np.ndarray) -> float:
    """Return the root of the mean variance of the columns; 1 where all vectors are equal."""
    return float(np.sqrt(vectors.var(axis=0, dtype=np.float64).mean())) or 1.0
