"""What do drawn pictures show: what was asked for, every class? A judge that has nothing to do with the model says.

The judge is scikit-learn's perceptron with one hidden layer, trained on real training pictures.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

_BATCH, _STEPS = 128, 4000  # of the judge's training: 97 to 98 % on MNIST's test split in some seconds


Labelled = tuple[np.ndarray, np.ndarray]  # real pictures [N,H,W,C] in [0, 1] and their labels [N]


def conditional_accuracy(drawn: np.ndarray, asked: np.ndarray, train: Labelled, test: Labelled) -> dict[str, Any]:
    """Return the share of drawn pictures that the judge reads as what was asked for.

    Args:
        drawn: [N,H,W,C] in [0, 1].
        asked: their labels [N].
        train: what the judge learns from.
        test: to tell how far it can be trusted.
    """
    judge = _train_judge(train)
    return {
        "conditional_accuracy": float((judge(drawn) == asked).mean()),
        "conditional_accuracy_num_samples": len(drawn),
        "judge_accuracy_on_real_test": float((judge(test[0]) == test[1]).mean()),
    }


def class_shares(drawn: np.ndarray, train: Labelled, test: Labelled) -> dict[str, Any]:
    """Return the share of each class among drawn pictures [N,H,W,C] as the judge reads them, and among real ones.

    A model that draws few classes covers the data badly, however good its pictures look.
    """
    judge = _train_judge(train)
    count = int(train[1].max()) + 1
    drawn_shares, real_shares = (
        np.bincount(labels, minlength=count) / len(labels) for labels in (judge(drawn), judge(test[0]))
    )
    return {
        "class_shares_samples": drawn_shares.tolist(),
        "class_shares_test": real_shares.tolist(),
        "smallest_class_share_samples": float(drawn_shares.min()),
        "judge_accuracy_on_real_test": float((judge(test[0]) == test[1]).mean()),
    }


def _train_judge(train: Labelled) -> Callable[[np.ndarray], np.ndarray]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    images, labels = train
    epochs = math.ceil(_STEPS * _BATCH / len(images))
    judge = MLPClassifier((256,), batch_size=min(_BATCH, len(images)), max_iter=epochs, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of steps is what is meant
        judge.fit(images.reshape(len(images), -1), labels)
    return lambda images: judge.predict(images.reshape(len(images), -1))
