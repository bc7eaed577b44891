"""The judge of a conditional model tells obedience from its absence."""

import numpy as np

from vae_jax.data.load import open_dataset
from vae_jax.evaluation.conditional import conditional_accuracy


def test_real_digits_pass_and_wrong_ones_fail():
    dataset = open_dataset({"name": "digits"}, None)
    train, test, drawn = (dataset.pictures(split, 10000) for split in ("train", "test", "validation"))
    right = conditional_accuracy(*drawn, train, test)
    assert right["conditional_accuracy"] > 0.95 < right["judge_accuracy_on_real_test"]
    assert right["conditional_accuracy_num_samples"] == 250
    wrong = conditional_accuracy(drawn[0], (drawn[1] + 1) % 10, train, test)
    assert wrong["conditional_accuracy"] < 0.05
    blank = conditional_accuracy(np.zeros_like(drawn[0]), drawn[1], train, test)
    assert blank["conditional_accuracy"] < 0.2
