"""How independent the latents are, and how well each factor has a latent of its own."""

from __future__ import annotations

import warnings

import numpy as np

_UNITS, _PASSES = (200, 200), 20  # layers of the classifier, and how often it sees its codes
_LARGEST = 15.0  # of its log odds
_BINS = 20  # of a latent, of equal width over its range, as in disentanglement_lib (Locatello et al. 2019)


def total_correlation_gaussian(codes: np.ndarray) -> float:
    """Return KL(q(z) || prod_j q(z_j)) in nats of a normal distribution with the covariance C of codes [N,D].

    (sum_i log C_ii - log det C) / 2. For other distributions it is not their total correlation: it sees nothing but
    linear dependence. A latent that is constant depends on none.

    Raises:
        ValueError: there are not more codes than latents.
    """
    if len(codes) <= codes.shape[1]:
        raise ValueError(f"{len(codes)} codes of {codes.shape[1]} latents have no covariance that can be inverted")
    varying = np.asarray(codes, np.float64)[:, np.ptp(codes, axis=0) > 0]
    if varying.shape[1] < 2:
        return 0.0
    correlation = np.corrcoef(varying, rowvar=False)
    return float(max(0.0, -0.5 * np.linalg.slogdet(correlation)[1]))


def total_correlation_bound(train: np.ndarray, test: np.ndarray, seed: int) -> float:
    """Return a lower bound of KL(q(z) || prod_j q(z_j)) in nats, of any dependence: what a classifier can tell.

    The classifier of FactorVAE (Kim and Mnih 2018, section 3), but trained when the model is done: a perceptron learns
    to tell codes from codes whose columns are permuted, each by itself. With T its log odds, E[T] - log E_permuted
    [exp T] is at most the total correlation, and equal to it for the right T (Donsker and Varadhan 1983). The two
    means are over codes that it has not seen.

    Args:
        train: codes [M,D] to learn from.
        test: codes [N,D] to measure.
        seed: of the permutations and of the perceptron.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rng, scale = np.random.default_rng(seed), np.maximum(train.std(axis=0), 1e-12)
    train, test = (np.asarray(codes / scale, np.float64) for codes in (train, test))
    both, real = np.concatenate([train, rng.permuted(train, axis=0)]), np.repeat([1, 0], len(train))
    judge = MLPClassifier(_UNITS, batch_size=min(500, len(both)), max_iter=_PASSES, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the bound holds for any classifier
        judge.fit(both, real)

    def log_odds(codes: np.ndarray) -> np.ndarray:
        log_share = judge.predict_log_proba(codes)
        return np.clip(log_share[:, 1] - log_share[:, 0], -_LARGEST, _LARGEST)

    bound = log_odds(test).mean() - np.log(np.exp(log_odds(rng.permuted(test, axis=0))).mean())
    return float(max(0.0, bound))


def mutual_information_gap(codes: np.ndarray, factors: np.ndarray) -> float:
    """Return the MIG of codes [N,D] and factors [N,F], from 0 to 1 (Chen et al. 2018, equation 6).

    The mean over the factors of (I(z_j; v) - I(z_k; v)) / H(v), z_j and z_k the latents that say the most and the
    second most of the factor v. Each latent is cut into 20 bins of equal width and all information is that of counts,
    as in disentanglement_lib; the paper integrates over q(z|x). Factors of one value are left out.

    Raises:
        ValueError: no factor varies.
    """
    binned = np.stack([_binned(column) for column in np.asarray(codes, np.float64).T], axis=1)
    gaps = []
    for factor in factors.T:
        values = np.unique(factor, return_inverse=True)[1]
        entropy = mutual_information(values, values)
        if entropy > 0:
            told = np.sort([0.0, *(mutual_information(column, values) for column in binned.T)])
            gaps.append((told[-1] - told[-2]) / entropy)
    if not gaps:
        raise ValueError("no factor takes more than one value")
    return float(np.mean(gaps))


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mutual information, in nats, of the joint counts of two columns [N] of numbers from 0 on."""
    counts = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(counts, (first, second), 1)
    joint = counts / len(first)
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def _binned(column: np.ndarray) -> np.ndarray:
    low, width = column.min(), np.ptp(column)
    return (
        np.zeros(len(column), int) if width == 0 else np.minimum((column - low) / width * _BINS, _BINS - 1).astype(int)
    )
