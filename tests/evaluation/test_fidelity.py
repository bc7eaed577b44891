"""The Frechet distance against closed forms; precision, recall, density and coverage against balls drawn by hand."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from vae_jax.evaluation.fidelity import fidelity, frechet_distance, neighbourhoods

RNG = np.random.default_rng(0)


def cloud(mean, root, num=500):
    """Return `num` vectors whose mean and covariance root^T root are exactly these."""
    noise = RNG.normal(size=(num, len(mean)))
    noise -= noise.mean(0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T)).T)
    return mean + white @ root


def test_frechet_distance_of_commuting_covariances_is_that_of_their_roots():
    a, b = np.diag([1.0, 2.0, 0.5]), np.diag([3.0, 2.0, 0.0])
    expected = 4 + 9 + (1 - 3) ** 2 + 0.5**2
    assert frechet_distance(cloud([0, 0, 1], a), cloud([2, 3, 1], b)) == pytest.approx(expected, abs=1e-9)


def test_frechet_distance_of_any_covariances_is_heusels_formula():
    a, b = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)), RNG.normal(size=(40, 5)) @ RNG.normal(size=(5, 5)) + 1
    s, t = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("offset", [0, 100])
def test_equal_clouds_are_at_distance_zero_in_any_order(offset):
    a = RNG.normal(size=(300, 8)).astype(np.float32) @ np.diag([0, 0, *range(6)]) + offset
    assert frechet_distance(a, RNG.permutation(a)) == pytest.approx(0, abs=1e-9)
    same = neighbourhoods(a, RNG.permutation(a))
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)


def test_balls_on_a_line():
    real, drawn = np.array([0.0, 1, 3, 10])[:, None], np.array([0.5, 4.5, 5.5, 6.25, 30])[:, None]
    # With k = 1 real balls are [-1, 1], [0, 2], [1, 5], [3, 17]; that of 0.5 is [-3.5, 4.5], that of 30 [6.25, 53.75].
    found = neighbourhoods(drawn, real, k=1)
    assert (found["precision"], found["density"]) == (4 / 5, (2 + 2 + 1 + 1 + 0) / 5)
    assert (found["recall"], found["coverage"]) == (1, 1)
    # With k = 2 real balls are [-3, 3], [-1, 3], [0, 6], [1, 19].
    found = neighbourhoods(drawn, real, k=2)
    assert (found["precision"], found["density"]) == (4 / 5, (3 + 2 + 2 + 1 + 0) / 5 / 2)
    # Without 0.5 and 30 the balls are [3.5, 5.5], [4.75, 6.25] and [5.5, 7]: no real vector is in one.
    found = neighbourhoods(drawn[1:4], real, k=1)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 0, 2 / 4)
    far = neighbourhoods(real + 1000, real, k=1)
    assert set(far.values()) == {0}


def test_one_far_cluster_is_missed_by_recall_and_coverage_only():
    real = np.r_[RNG.normal(size=(200, 3)), RNG.normal(size=(200, 3)) + 50]
    found = neighbourhoods(RNG.normal(size=(400, 3)), real)
    assert found["precision"] > 0.95 and found["density"] > 0.9
    assert 0.45 < found["recall"] < 0.51 and 0.45 < found["coverage"] < 0.51


def test_blocks_change_nothing(monkeypatch):
    drawn, real = RNG.normal(size=(57, 4)), RNG.normal(size=(61, 4))
    whole = neighbourhoods(drawn, real)
    assert all(0 < value < 2 for value in whole.values())
    monkeypatch.setattr("vae_jax.evaluation.fidelity._BLOCK", 8 * 61 * 10)
    assert neighbourhoods(drawn, real) == whole
    assert neighbourhoods(RNG.permutation(drawn), RNG.permutation(real)) == pytest.approx(whole)


def test_figures_are_named_after_measure_and_cloud_and_need_neighbours():
    drawn, real = RNG.normal(size=(20, 2)), RNG.normal(size=(30, 2))
    figures = fidelity({"samples": drawn, "train": real}, real)
    assert figures["frechet_distance_train"] == pytest.approx(0, abs=1e-9)
    assert figures["coverage_samples"] == neighbourhoods(drawn, real)["coverage"]
    assert len(figures) == 10
    with pytest.raises(ValueError, match="5 neighbours"):
        neighbourhoods(drawn[:5], real)
