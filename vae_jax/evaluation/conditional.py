"""Does a conditional model draw what it is asked for? A judge that has nothing to do with it says."""

from __future__ import annotations

from typing import Any

import numpy as np

_JUDGE_EXAMPLES = 10_000  # a support vector machine on more takes minutes and judges little better


def conditional_accuracy(
    drawn: np.ndarray, asked: np.ndarray, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Return the share of drawn pictures that a classifier reads as what was asked for.

    The classifier is scikit-learn's support vector machine, trained on the first 10000 real training pictures.

    Args:
        drawn: [N,H,W,C] in [0, 1].
        asked: their labels [N].
        train: real pictures in [0, 1] and their labels.
        test: as `train`, to tell how far the classifier can be trusted.
    """
    from sklearn.svm import SVC

    images, labels = (array[:_JUDGE_EXAMPLES] for array in train)
    judge = SVC(C=5).fit(images.reshape(len(images), -1), labels)

    def share(images: np.ndarray, labels: np.ndarray) -> float:
        return float((judge.predict(images.reshape(len(images), -1)) == labels).mean())

    return {
        "conditional_accuracy": share(drawn, asked),
        "conditional_accuracy_num_samples": len(drawn),
        "judge_accuracy_on_real_test": share(*(array[:2000] for array in test)),
    }
