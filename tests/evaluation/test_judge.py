"""The judge tells obedience of a conditional model from its absence, and missing classes from all."""

import numpy as np
import pytest

from vae_jax.data.load import open_dataset
from vae_jax.evaluation.judge import Judge, class_shares, conditional_accuracy, train_judge


def test_real_digits_pass_and_wrong_ones_fail(monkeypatch):
    monkeypatch.setattr("vae_jax.evaluation.judge._STEPS", 1000)
    dataset = open_dataset({"name": "digits"}, None)
    train, test, drawn = (dataset.pictures(split, 10000) for split in ("train", "test", "validation"))
    judge = train_judge(train)
    right = conditional_accuracy(judge, *drawn, test)
    assert right["conditional_accuracy"] > 0.9 < right["judge_accuracy_on_real_test"]
    assert right["conditional_accuracy_num_samples"] == 250
    wrong = conditional_accuracy(judge, drawn[0], (drawn[1] + 1) % 10, test)
    assert wrong["conditional_accuracy"] < 0.05
    blank = conditional_accuracy(judge, np.zeros_like(drawn[0]), drawn[1], test)
    assert blank["conditional_accuracy"] < 0.2


def test_shares_of_classes_show_the_missing_one():
    judge, test = Judge(lambda labels: labels, None), 2 * (np.arange(20) % 10,)
    drawn = np.repeat(np.arange(10), np.arange(11, 21))
    every = class_shares(judge, drawn, test, 10)
    assert every["class_shares_samples"] == pytest.approx(np.arange(11, 21) / 155)
    assert every["smallest_class_share_samples"] == pytest.approx(11 / 155)
    assert (every["class_shares_test"], every["judge_accuracy_on_real_test"]) == (pytest.approx([0.1] * 10), 1)
    without = class_shares(judge, drawn[drawn != 3], test, 10)
    assert without["smallest_class_share_samples"] == without["class_shares_samples"][3] == 0
    # Shares of real pictures are as the judge reads them too: its errors are in both.
    of_zeros = class_shares(Judge(lambda labels: labels + 1, None), drawn[drawn < 9], (np.zeros(5, int),) * 2, 10)
    assert of_zeros["class_shares_test"] == [0, 1, *[0] * 8] and of_zeros["judge_accuracy_on_real_test"] == 0


def test_features_are_what_the_judge_reads_from(monkeypatch):
    monkeypatch.setattr("vae_jax.evaluation.judge._STEPS", 100)
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(size=(90, 2, 3, 1)), np.arange(90) % 3
    judge = train_judge((images, labels))
    features = judge.features(images)
    assert features.shape == (90, 256) and features.min() == 0 < features.max()
    # Linear in the features: three classes are told apart by a hyperplane each.
    fit = np.linalg.lstsq(np.c_[features, np.ones(90)], np.eye(3)[judge.read(images)], rcond=None)[0]
    np.testing.assert_array_equal((np.c_[features, np.ones(90)] @ fit).argmax(1), judge.read(images))
