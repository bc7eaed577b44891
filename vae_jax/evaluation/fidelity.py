"""How close drawn pictures are to real ones, as two clouds of feature vectors.

The features are the hidden layer of a classifier of the data at hand (`vae_jax.evaluation.judge`), not of Inception:
the figures are in a unit of their own, of one data set and one number of pictures, and compare with no published FID.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

_NEIGHBOURS = 5  # k: that of Naeem et al.; Kynkaanniemi et al. take 3
_BLOCK = 64e6  # bytes of distances that are held at once


def fidelity(features: Mapping[str, np.ndarray], reference: np.ndarray) -> dict[str, float]:
    """Return every figure of this file, named after it and the cloud: `frechet_distance_samples`, say.

    Args:
        features: name -> features [N,F] of some pictures.
        reference: features [M,F] of real ones.
    """
    figures: dict[str, float] = {}
    for name, cloud in features.items():
        found = {"frechet_distance": frechet_distance(cloud, reference), **neighbourhoods(cloud, reference)}
        figures |= {f"{measure}_{name}": value for measure, value in found.items()}
    return figures


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the squared Frechet distance of the normals with the moments of a [N,F] and b [M,F].

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))  (Heusel et al. 2017, equation 6; Dowson and Landau 1982). The
    last trace is the sum of the singular values of S_a^(1/2) S_b^(1/2), so no root of a matrix that is not symmetric
    is taken. Few pictures make it larger: compare figures of equal numbers only.
    """
    (mean_a, root_a), (mean_b, root_b) = moments(a), moments(b)
    overlap = np.linalg.svd(root_a @ root_b, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum() - 2 * overlap
    return float(max(np.square(mean_a - mean_b).sum() + spread, 0))


def neighbourhoods(drawn: np.ndarray, real: np.ndarray, k: int = _NEIGHBOURS) -> dict[str, float]:
    """Return precision, recall, density and coverage of drawn [N,F] against real [M,F] features.

    A vector's ball reaches to its k-th nearest neighbour in its own cloud. Precision is the share of drawn vectors in
    the ball of a real one, recall the share of real vectors in the ball of a drawn one (Kynkaanniemi et al. 2019,
    equations 1 and 2). Density is the mean number of real balls that a drawn vector is in, divided by k, and may exceed
    1; coverage is the share of real balls that hold a drawn vector (Naeem et al. 2020, section 3).

    Raises:
        ValueError: a cloud has no more than k vectors.
    """
    if min(len(drawn), len(real)) <= k:
        raise ValueError(f"{len(drawn)} and {len(real)} vectors have no {k} neighbours each")
    radii_real, radii_drawn = _radii(real, k), _radii(drawn, k)
    around_drawn = np.zeros(len(drawn), np.int64)  # real balls that hold each drawn vector
    holds_drawn, held = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, distance in _distances(real, drawn):
        inside = distance <= radii_real[rows, None]
        around_drawn += inside.sum(0)
        holds_drawn[rows] = inside.any(1)
        held[rows] = (distance <= radii_drawn).any(1)
    return {
        "precision": float((around_drawn > 0).mean()),
        "recall": float(held.mean()),
        "density": float(around_drawn.mean() / k),
        "coverage": float(holds_drawn.mean()),
    }


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [F], and the symmetric root [F,F] of the covariance, in float64."""
    values, vectors = np.linalg.eigh(np.cov(features, rowvar=False, dtype=np.float64).reshape(features.shape[1], -1))
    return features.mean(0, dtype=np.float64), vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def _radii(cloud: np.ndarray, k: int) -> np.ndarray:
    """Return the squared distance [N] of each vector to its k-th nearest other one."""
    radii = np.empty(len(cloud))
    for rows, distance in _distances(cloud, cloud):
        distance[np.arange(len(distance)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(distance, k - 1, axis=1)[:, k - 1]
    return radii


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the squared distances of some rows of a [N,F] to all of b [M,F], block by block."""
    centre = b.mean(0, dtype=np.float64)  # near the origin fewer digits are lost in the sum of squares
    a, b = a - centre, b - centre
    squares = np.square(b).sum(1)
    size = max(1, int(_BLOCK // (8 * len(b))))
    for start in range(0, len(a), size):
        rows = slice(start, min(start + size, len(a)))
        yield rows, np.maximum(np.square(a[rows]).sum(1)[:, None] - 2 * a[rows] @ b.T + squares, 0)
