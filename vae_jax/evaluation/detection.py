"""How well scores tell anomalies from normal examples: AUROC, AUPR, false alarms, with bootstrap intervals.

The anomalies are the positives: a good score is higher for them. Scores that are equal are one threshold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_ENOUGH = 0.95  # of the anomalies are found, where false alarms are counted


def bootstrap_weights(size: int, resamples: int, seed: int = 0) -> np.ndarray:
    """Return how often each of `size` examples is drawn, [1 + resamples, size]: once in row 0, then with replacement.

    Rows of one call that serve several scores, or several classes of one test set, keep their differences paired.
    """
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples)
    return np.concatenate([np.ones((1, size)), drawn]).astype(np.float32)


def detection_figures(scores: np.ndarray, anomalous: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the figures of scores [N] for every row of weights [R,N], each [R]; nan for a row without both kinds.

    - auroc: the probability that an anomaly scores higher than a normal example, ties counted as one half;
    - aupr: average precision, the sum over thresholds of (recall - recall before) * precision;
    - fpr_at_95_tpr: the share of normal examples above the highest threshold that finds 95 % of the anomalies.

    Args:
        scores: higher where more anomalous.
        anomalous: [N] bool, the truth.
        weights: of examples, as `bootstrap_weights` returns them.

    Raises:
        ValueError: a score is not finite, or there are no anomalies or nothing else.
    """
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are not finite")
    if anomalous.all() or not anomalous.any():
        raise ValueError(f"{int(anomalous.sum())} of {len(anomalous)} examples are anomalous: there must be both kinds")
    found, alarms = _shares_above(scores, anomalous, weights)
    flagged = found * (weights @ anomalous)[:, None], alarms * (weights @ ~anomalous)[:, None]
    precision = flagged[0] / np.maximum(flagged[0] + flagged[1], 1e-12)
    enough = np.minimum((found < _ENOUGH - 1e-9).sum(axis=1, keepdims=True), found.shape[1] - 1)
    both = (weights @ anomalous > 0) & (weights @ ~anomalous > 0)
    figures = {
        "auroc": (np.diff(alarms, prepend=0) * (found + np.insert(found, 0, 0, axis=1)[:, :-1])).sum(axis=1) / 2,
        "aupr": (np.diff(found, prepend=0) * precision).sum(axis=1),
        "fpr_at_95_tpr": np.take_along_axis(alarms, enough, axis=1)[:, 0],
    }
    return {name: np.where(both, values, np.nan) for name, values in figures.items()}


def weighted_share(chosen: np.ndarray, among: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of `chosen` [N] among those of a kind [N] for every row of weights [R,N]; nan where none is."""
    there = weights @ among
    return np.divide(weights @ (chosen & among), there, out=np.full(len(weights), np.nan), where=there > 0)


def roc_curve(scores: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of normal examples and of anomalies above each distinct score, both from 0 to 1, [1 + T]."""
    found, alarms = _shares_above(scores, anomalous, np.ones((1, len(scores))))
    return np.insert(alarms[0], 0, 0), np.insert(found[0], 0, 0)


def with_intervals(figures: Mapping[str, np.ndarray], coverage: float = 0.95) -> dict[str, float | list[float]]:
    """Return each figure [1 + resamples] as a number and, as name_95, its percentile interval over the resamples.

    Efron and Tibshirani (1993), section 13.3. Resamples that lack a kind, with nan for their figure, are left out.
    """
    low, high = (1 - coverage) / 2, (1 + coverage) / 2
    found: dict[str, float | list[float]] = {}
    for name, values in figures.items():
        found[name] = float(values[0])
        found[f"{name}_{100 * coverage:.0f}"] = np.nanquantile(values[1:], [low, high]).tolist()
    return found


def quantile_among(normal: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the share of normal scores below each score, in [0, 1]."""
    return np.searchsorted(np.sort(normal), scores, side="left") / len(normal)


def _shares_above(scores: np.ndarray, anomalous: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares [R,T] of anomalies and of normal examples that reach each distinct score, highest first."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of the examples with the same score
    shares = []
    for kind in (anomalous, ~anomalous):
        reached = np.cumsum(np.where(kind, weights, 0)[:, order], axis=1, dtype=np.float64)
        shares.append(reached[:, last] / np.maximum(reached[:, -1:], 1e-12))
    return shares[0], shares[1]
