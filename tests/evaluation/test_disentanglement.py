"""Total correlations in closed form; the information gap where it is known, by rank, rotation and brute force."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import mutual_info_score

from vae_jax.evaluation.disentanglement import (
    mutual_information,
    mutual_information_gap,
    total_correlation_bound,
    total_correlation_gaussian,
)

RNG = np.random.default_rng(0)
GRID = np.stack(np.unravel_index(np.arange(3 * 6 * 10 * 8), (3, 6, 10, 8)), -1)
MIXED = RNG.integers(0, 5, (400, 1)) + RNG.integers(0, 3, (400, 3))


def random_turn():
    return np.linalg.qr(RNG.normal(size=(4, 4)))[0]


def test_total_correlation_is_that_of_the_density():
    factor = RNG.normal(size=(4, 4)) + 2 * np.eye(4)
    covariance = factor @ factor.T
    # Codes that have exactly this covariance.
    white = RNG.normal(size=(2000, 4))
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white.T))).T
    codes = 3 + white @ factor.T
    joint = multivariate_normal(cov=covariance).entropy()
    expected = sum(multivariate_normal(cov=v).entropy() for v in np.diag(covariance)) - joint
    assert total_correlation_gaussian(codes) == pytest.approx(expected, rel=1e-9)
    assert total_correlation_gaussian(codes[:, :2]) == pytest.approx(
        -0.5 * np.log1p(-(covariance[0, 1] ** 2) / covariance[0, 0] / covariance[1, 1]), rel=1e-9
    )


def test_total_correlation_does_not_depend_on_scale_and_is_small_for_independent_latents():
    codes = RNG.normal(size=(20000, 6)) @ RNG.normal(size=(6, 6))
    scaled = codes * 10.0 ** np.arange(-3, 3) - 7
    assert total_correlation_gaussian(scaled) == pytest.approx(total_correlation_gaussian(codes), rel=1e-6)
    independent = total_correlation_gaussian(RNG.exponential(size=(20000, 6)))
    assert 0 <= independent < 3 * 15 / (2 * 20000)  # chi^2 of 15 pairs over 2 N


def test_the_bound_of_a_classifier_is_near_the_total_correlation():
    codes = RNG.normal(size=(9000, 2)) * [1, 5]
    codes[:, 1] = 0.8 * codes[:, 0] + 0.6 * codes[:, 1] / 5
    normal = total_correlation_bound(codes[:4000], codes[4000:], seed=0)
    assert normal == pytest.approx(-0.5 * np.log(1 - 0.8**2), abs=0.04)


@pytest.mark.long
def test_the_bound_of_a_classifier_sees_no_dependence_and_one_that_is_not_linear():
    codes = RNG.normal(size=(9000, 3)) * [1, 5, 0.01]
    assert total_correlation_bound(codes[:4000], codes[4000:], seed=0) < 0.02
    triangle = np.sort(RNG.random((9000, 2)), axis=1)  # density 2, margins 2 (1 - u) and 2 v
    found = total_correlation_bound(triangle[:4000], triangle[4000:], seed=0)
    assert total_correlation_gaussian(triangle) == pytest.approx(-0.5 * np.log(0.75), abs=0.03)
    assert -0.5 * np.log(0.75) + 0.07 < found < 1 - np.log(2) + 0.03


def test_a_constant_latent_depends_on_none():
    codes = RNG.normal(size=(50, 3)) + RNG.normal(size=(50, 1))
    constant = np.full((50, 1), 0.3)
    assert total_correlation_gaussian(np.hstack([codes, constant])) == pytest.approx(total_correlation_gaussian(codes))
    assert total_correlation_gaussian(np.hstack([codes[:, :1], constant])) == 0
    with pytest.raises(ValueError, match="3 codes of 3 latents"):
        total_correlation_gaussian(codes[:3])


def test_mutual_information_is_that_of_counts():
    a, b = MIXED[:, 0], MIXED[:, 1]
    assert mutual_information(a, b) == pytest.approx(mutual_info_score(a, b))
    assert mutual_information(a, a) == pytest.approx(-sum(p * np.log(p) for p in np.bincount(a) / 400 if p))


def test_the_gap_is_one_for_factors_as_codes_in_any_order_and_scale():
    codes = np.hstack([GRID[:, [2, 0, 3, 1]] * [-3.0, 0.01, 5.0, 1.0], RNG.normal(size=(len(GRID), 1))])
    assert mutual_information_gap(GRID.astype(float), GRID) == pytest.approx(1)
    assert mutual_information_gap(codes, GRID) == pytest.approx(1, abs=0.1)  # noise in 20 bins tells 0.1 by chance


def test_the_gap_collapses_under_a_rotation():
    normal = (GRID - GRID.mean(0)) / GRID.std(0)
    turn = 0.5 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    np.testing.assert_allclose(turn @ turn.T, np.eye(4))
    assert mutual_information_gap(normal @ turn, GRID) < 0.05  # every latent is of all factors, equally
    assert np.mean([mutual_information_gap(normal @ random_turn(), GRID) for _ in range(5)]) < 0.5


def test_a_factor_in_two_latents_has_no_gap():
    assert mutual_information_gap(GRID[:, [0, 0, 1, 2, 3]].astype(float), GRID) == pytest.approx(0.75)
    assert mutual_information_gap(GRID[:, :1].astype(float), GRID) == pytest.approx(0.25)  # of one latent


def test_the_gap_is_its_formula():
    codes = RNG.normal(size=(400, 3)) + MIXED
    gaps = []
    for v in MIXED.T:
        told = []
        for z in codes.T:
            edges = np.linspace(z.min(), z.max(), 21)
            told.append(mutual_info_score(np.digitize(z, edges[1:-1]), v))
        told.sort()
        gaps.append((told[-1] - told[-2]) / mutual_info_score(v, v))
    assert mutual_information_gap(codes, MIXED) == pytest.approx(np.mean(gaps), rel=1e-9)


def test_factors_of_one_value_are_left_out():
    still = np.hstack([GRID, np.zeros((len(GRID), 1), int)])
    assert mutual_information_gap(GRID.astype(float), still) == pytest.approx(1)
    with pytest.raises(ValueError, match="no factor takes more than one value"):
        mutual_information_gap(GRID.astype(float), still[:, -1:])
