"""Figures of detection against scikit-learn and brute force, with ties and with weights."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from vae_jax.evaluation.detection import (
    bootstrap_weights,
    detection_figures,
    quantile_among,
    weighted_share,
    with_intervals,
)


def example(ties, seed=0, size=400):
    rng = np.random.default_rng(seed)
    anomalous = rng.random(size) < 0.7
    scores = rng.normal(size=size) + anomalous
    return (np.round(2 * scores) / 2 if ties else scores), anomalous


@pytest.mark.parametrize("ties", [False, True])
def test_figures_of_every_resample_are_those_of_scikit_learn(ties):
    scores, anomalous = example(ties)
    weights = bootstrap_weights(len(scores), 5)
    figures = detection_figures(scores, anomalous, weights)
    for row, weight in enumerate(weights):
        given = {"sample_weight": weight}
        fpr, tpr, _ = roc_curve(anomalous, scores, drop_intermediate=False, **given)
        assert figures["auroc"][row] == pytest.approx(roc_auc_score(anomalous, scores, **given), abs=1e-9)
        assert figures["aupr"][row] == pytest.approx(average_precision_score(anomalous, scores, **given), abs=1e-9)
        assert figures["fpr_at_95_tpr"][row] == pytest.approx(fpr[np.argmax(tpr >= 0.95 - 1e-9)], abs=1e-9)


@pytest.mark.parametrize(("rare", "common"), [(3, 200), (200, 3)])
def test_resamples_without_one_kind_are_left_out(rare, common):
    anomalous = np.arange(rare + common) < rare
    scores = np.where(anomalous, 10.0, 0.0) + np.random.default_rng(0).normal(size=len(anomalous))
    weights = bootstrap_weights(len(scores), 300)
    figures = detection_figures(scores, anomalous, weights)
    lacking = (weights @ anomalous == 0) | (weights @ ~anomalous == 0)
    assert 0 < lacking.sum() < 60
    for values in figures.values():
        np.testing.assert_array_equal(np.isnan(values), lacking)
    assert with_intervals(figures)["auroc_95"] == [1, 1]
    flagged = weighted_share(scores > 5, ~anomalous, weights)
    np.testing.assert_array_equal(np.isnan(flagged), weights @ ~anomalous == 0)
    assert np.nanmax(flagged) == 0


def test_weights_are_what_drawing_again_gives():
    scores, anomalous = example(ties=True)
    weights = bootstrap_weights(len(scores), 3)
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights.sum(axis=1), len(scores))
    again = np.repeat(np.arange(len(scores)), weights[2].astype(int))
    alone = detection_figures(scores[again], anomalous[again], np.ones((1, len(again)), np.float32))
    for name, values in detection_figures(scores, anomalous, weights).items():
        assert values[2] == pytest.approx(alone[name][0], abs=1e-9)


def test_auroc_is_the_probability_of_a_higher_score():
    scores, anomalous = example(ties=True, size=150)
    above = scores[anomalous][:, None] - scores[~anomalous]
    expected = ((above > 0) + 0.5 * (above == 0)).mean()
    figures = detection_figures(scores, anomalous, bootstrap_weights(150, 0))
    assert figures["auroc"][0] == pytest.approx(expected, abs=1e-12)


def test_perfect_and_useless_scores():
    anomalous = np.arange(100) % 4 == 0
    perfect = detection_figures(anomalous * 1.0, anomalous, bootstrap_weights(100, 0))
    assert [perfect[name][0] for name in ("auroc", "aupr", "fpr_at_95_tpr")] == [1, 1, 0]
    useless = detection_figures(np.zeros(100), anomalous, bootstrap_weights(100, 0))
    assert [useless[name][0] for name in ("auroc", "aupr", "fpr_at_95_tpr")] == [0.5, 0.25, 1]


def test_the_interval_is_as_wide_as_new_samples_differ():
    scores, anomalous = example(ties=False, size=1000)
    low, high = with_intervals(detection_figures(scores, anomalous, bootstrap_weights(1000, 400)))["auroc_95"]
    fresh = [roc_auc_score(*reversed(example(ties=False, seed=seed, size=1000))) for seed in range(1, 200)]
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(fresh), rel=0.25)
    assert low < np.mean(fresh) < high


def test_quantiles_count_what_lies_below():
    normal, scores = np.array([3.0, 1.0, 2.0, 2.0]), np.array([0.0, 1.0, 2.0, 2.5, 9.0])
    np.testing.assert_allclose(quantile_among(normal, scores), [(normal < score).mean() for score in scores])


@pytest.mark.parametrize(
    "scores, anomalous, message",
    [
        ([0.0, np.nan], [True, False], "1 scores are not finite"),
        ([0.0, 1.0], [True, True], "2 of 2 examples are anomalous"),
        ([0.0, 1.0], [False, False], "0 of 2"),
    ],
)
def test_what_cannot_be_measured_is_refused(scores, anomalous, message):
    with pytest.raises(ValueError, match=message):
        detection_figures(np.array(scores), np.array(anomalous), bootstrap_weights(2, 1))


def test_nineteen_anomalies_of_twenty_are_enough():
    scores = np.array([*[3.0] * 19, 0.0, *[5.0] * 4, *[1.0] * 6])
    figures = detection_figures(scores, np.arange(30) < 20, bootstrap_weights(30, 0))
    assert figures["fpr_at_95_tpr"][0] == pytest.approx(0.4)
