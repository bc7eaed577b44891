"""The judge tells obedience of a conditional model from its absence, and missing classes from all."""

import numpy as np
import pytest

from vae_jax.data.load import open_dataset
from vae_jax.evaluation.judge import class_shares, conditional_accuracy


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


def test_shares_of_classes_show_the_missing_one():
    dataset = open_dataset({"name": "digits"}, None)
    train, test, drawn = (dataset.pictures(split, 10000) for split in ("train", "test", "validation"))
    every = class_shares(drawn[0], train, test)
    np.testing.assert_allclose(every["class_shares_samples"], np.bincount(drawn[1]) / 250, atol=0.03)
    assert every["smallest_class_share_samples"] == min(every["class_shares_samples"]) > 0.05
    without = class_shares(drawn[0][drawn[1] != 3], train, test)
    assert without["smallest_class_share_samples"] == without["class_shares_samples"][3] < 0.02
    assert [sum(without[f"class_shares_{which}"]) for which in ("samples", "test")] == pytest.approx([1, 1])
