"""What a simple classifier can read off a frozen code, from few labels and from many."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from vae_jax.evaluation.retrieval import make_index
from vae_jax.evaluation.splits import standard_error

_NEIGHBOURS = 5
_STEPS = 100  # of the optimizer of the linear probe, at most

Vectors = tuple[np.ndarray, np.ndarray]  # vectors [N,D] and their labels [N]


def knn(train: Vectors, vectors: np.ndarray) -> np.ndarray:
    """Return the label [N] that most of the 5 nearest training vectors have; of equal votes that of the nearer."""
    known, labels = train
    found = labels[make_index(known).search(vectors, _NEIGHBOURS).index]
    # Whole votes, and fractions of less than half a vote in all that decide between equal ones.
    weight = 1 + 0.25 * 0.5 ** np.arange(found.shape[1])
    votes = (found[:, :, None] == np.arange(labels.max() + 1)) * weight[:, None]
    return votes.sum(axis=1).argmax(axis=1)


def linear(train: Vectors, vectors: np.ndarray) -> np.ndarray:
    """Return the label [N] by multinomial logistic regression with scikit-learn's L2 penalty, C = 1.

    Vectors are centred and divided by one number, the root of their mean variance in training, so that the penalty
    means the same for every representation, and the geometry stays.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    known, labels = train
    centre = known.mean(axis=0, dtype=np.float64)
    scale = np.sqrt(known.var(axis=0, dtype=np.float64).mean()) or 1.0
    known, vectors = (((rows - centre) / scale).astype(np.float32) for rows in (known, vectors))
    model = LogisticRegression(max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound on the steps is what is meant
        model.fit(known, labels)
    return model.predict(vectors)


def probe(
    classify: Callable[[Vectors, np.ndarray], np.ndarray],
    train: Vectors,
    test: Vectors,
    per_class: int | None,
    num_draws: int = 5,
) -> dict[str, float]:
    """Return the test accuracy of a classifier that was given some of the training labels.

    Args:
        classify: knn or linear.
        train: vectors [N,D] and labels [N].
        test: the same.
        per_class: labels drawn of each class; None for all there are, which is one draw.
        num_draws: how often, each with a seed of its own.

    Returns:
        accuracy: the mean over the draws; accuracy_standard_error: of that mean, over the draws, or, of a single one,
        over the test examples; num_labels; num_draws.
    """
    vectors, labels = train
    draws = [np.arange(len(labels))] if per_class is None else [draw(labels, per_class, s) for s in range(num_draws)]
    correct = [classify((vectors[chosen], labels[chosen]), test[0]) == test[1] for chosen in draws]
    means = np.array([hits.mean() for hits in correct])
    return {
        "accuracy": float(means.mean()),
        "accuracy_standard_error": standard_error(means if len(means) > 1 else correct[0].astype(np.float64)),
        "num_labels": len(draws[0]),
        "num_draws": len(draws),
    }


def draw(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Return `per_class` examples of each label in `labels` [N], drawn without replacement; sorted.

    Raises:
        ValueError: a label has fewer.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in np.unique(labels)]
    return np.sort(np.concatenate(drawn))
