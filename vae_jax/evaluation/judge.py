"""What do drawn pictures show: what was asked for, every class? A judge that has nothing to do with the model says.

The judge is scikit-learn's perceptron with one hidden layer, trained on real training pictures.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_BATCH, _STEPS = 128, 4000  # of the judge's training: 97 to 98 % on MNIST's test split in some seconds


Labelled = tuple[np.ndarray, np.ndarray]  # real pictures [N,H,W,C] in [0, 1] and their labels [N]


class Judge(NamedTuple):
    """A classifier of pictures [N,H,W,C] in [0, 1]."""

    read: Callable[[np.ndarray], np.ndarray]  # pictures -> their labels [N]
    features: Callable[[np.ndarray], np.ndarray]  # pictures -> the hidden layer [N,256], after its ReLU


def conditional_accuracy(judge: Judge, drawn: np.ndarray, asked: np.ndarray, test: Labelled) -> dict[str, Any]:
    """Return the share of drawn pictures that the judge reads as what was asked for.

    Args:
        judge: see `train_judge`.
        drawn: [N,H,W,C] in [0, 1].
        asked: their labels [N].
        test: to tell how far the judge can be trusted.
    """
    return {
        "conditional_accuracy": float((judge.read(drawn) == asked).mean()),
        "conditional_accuracy_num_samples": len(drawn),
        "judge_accuracy_on_real_test": float((judge.read(test[0]) == test[1]).mean()),
    }


def class_shares(judge: Judge, drawn: np.ndarray, test: Labelled, num_classes: int) -> dict[str, Any]:
    """Return the share of each class among drawn pictures [N,H,W,C] as the judge reads them, and among real ones.

    A model that draws few classes covers the data badly, however good its pictures look.
    """
    read = judge.read(test[0])
    drawn_shares, real_shares = (
        np.bincount(labels, minlength=num_classes) / len(labels) for labels in (judge.read(drawn), read)
    )
    return {
        "class_shares_samples": drawn_shares.tolist(),
        "class_shares_test": real_shares.tolist(),
        "smallest_class_share_samples": float(drawn_shares.min()),
        "judge_accuracy_on_real_test": float((read == test[1]).mean()),
    }


def train_judge(train: Labelled) -> Judge:
    """Train the judge on real pictures."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    images, labels = train
    epochs = math.ceil(_STEPS * _BATCH / len(images))
    judge = MLPClassifier((256,), batch_size=min(_BATCH, len(images)), max_iter=epochs, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of steps is what is meant
        judge.fit(_flat(images), labels)
    weights, offset = judge.coefs_[0], judge.intercepts_[0]
    return Judge(
        lambda images: judge.predict(_flat(images)),
        lambda images: np.maximum(_flat(images) @ weights + offset, 0),
    )


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)
