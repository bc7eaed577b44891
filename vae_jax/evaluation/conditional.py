"""Does a conditional model draw what it is asked for? A judge that has nothing to do with it says."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

_BATCH, _STEPS = 128, 4000  # of the judge's training: 97 to 98 % on MNIST's test split in some seconds


def conditional_accuracy(
    drawn: np.ndarray, asked: np.ndarray, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Return the share of drawn pictures that a classifier reads as what was asked for.

    The classifier is scikit-learn's perceptron with one hidden layer, trained on the real training pictures.

    Args:
        drawn: [N,H,W,C] in [0, 1].
        asked: their labels [N].
        train: real pictures in [0, 1] and their labels.
        test: as `train`, to tell how far the classifier can be trusted.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    images, labels = train
    epochs = math.ceil(_STEPS * _BATCH / len(images))
    judge = MLPClassifier((256,), batch_size=min(_BATCH, len(images)), max_iter=epochs, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of steps is what is meant
        judge.fit(images.reshape(len(images), -1), labels)

    def share(images: np.ndarray, labels: np.ndarray) -> float:
        return float((judge.predict(images.reshape(len(images), -1)) == labels).mean())

    return {
        "conditional_accuracy": share(drawn, asked),
        "conditional_accuracy_num_samples": len(drawn),
        "judge_accuracy_on_real_test": share(*test),
    }
