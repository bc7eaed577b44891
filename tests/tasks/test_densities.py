"""Densities fitted to codes of a known distribution give it back."""

import numpy as np
import pytest

from vae_jax.errors import Diverged
from vae_jax.tasks import densities

RNG = np.random.default_rng(0)
NUM, TRAINED = 6000, ("flow", "two_stage")


@pytest.fixture(scope="module")
def codes():
    """Two clusters in three dimensions of different scales, and away from the origin."""
    side = np.where(RNG.uniform(size=NUM) < 0.3, -2.0, 1.0)
    base = np.stack([side, -side, 0 * side], 1) + RNG.normal(size=(NUM, 3)) @ [[0.3, 0, 0], [0.2, 0.3, 0], [0, 0.2, 1]]
    return (base * [1, 5, 0.1] + [3, -20, 0]).astype(np.float32)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Train few steps, of small networks."""
    monkeypatch.setattr(densities, "_STEPS", 800)
    monkeypatch.setattr(densities, "_FLOW", {"name": "flow", "depth": 4, "width": 32})


@pytest.fixture
def untrained(monkeypatch):
    """Train hardly at all."""
    monkeypatch.setattr(densities, "_STEPS", 3)


FLOW = pytest.param("flow", marks=pytest.mark.long)


@pytest.mark.parametrize(
    "name, tolerance",
    [("gaussian", 0.06), ("gmm", 0.06), pytest.param("flow", 0.15, marks=pytest.mark.long), ("two_stage", 0.25)],
)
def test_mean_and_covariance_come_back_and_but_for_the_gaussian_both_clusters(codes, name, tolerance):
    drawn, scale = getattr(densities, name)(codes, NUM, 1.0, 0), codes.std(0)
    assert drawn.shape == (NUM, 3) and drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(0) / scale, codes.mean(0) / scale, atol=tolerance)
    expected, found = (np.cov(values.T) / np.outer(scale, scale) for values in (codes, drawn))
    assert np.abs(expected[0, 1]) > 0.5
    np.testing.assert_allclose(found, expected, atol=2 * tolerance)
    # The lower cluster of the first latent has 0.3 of the codes, and few lie between the two.
    low, between = (drawn[:, 0] < 2).mean(), ((drawn[:, 0] > 2.2) & (drawn[:, 0] < 2.8)).mean()
    assert low == pytest.approx(0.3, abs=0.12)
    assert (between < 0.08) == (name != "gaussian")


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("name", ["gaussian", "gmm", FLOW])
def test_equal_seeds_draw_equal_codes_and_temperature_0_the_centres(codes, name):
    density, few = getattr(densities, name), codes[:300]
    first, again, cold = (density(few, 50, temperature, 5) for temperature in (1.0, 1.0, 0.0))
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first.round(3), axis=0)) == 50
    assert len(np.unique(cold.round(3), axis=0)) == (1 if name != "gmm" else 10)
    if name != "flow":
        assert np.abs(first - density(few, 50, 1.0, 6)).max() > 0.1


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("name", ["gaussian", "gmm", "two_stage"])
def test_a_latent_without_variance_is_no_trouble(codes, name):
    few = np.c_[codes[:300, :1], np.full(300, 7)].astype(np.float32)
    cold = getattr(densities, name)(few, 50, 0.0, 0)
    assert len(np.unique(cold.round(3), axis=0)) == (1 if name != "gmm" else 10)
    if name != "two_stage":
        np.testing.assert_allclose(getattr(densities, name)(few, 50, 1.0, 0)[:, 1], 7, atol=0.01)


@pytest.mark.parametrize("name", ["gaussian", "gmm", "flow"])
def test_one_latent_is_enough(name):
    codes = (3 + 0.5 * RNG.normal(size=(500, 1))).astype(np.float32)
    drawn = getattr(densities, name)(codes, 2000, 1.0, 0)
    assert (drawn.mean(), drawn.std()) == pytest.approx((3, 0.5), abs=0.12)


@pytest.mark.parametrize("name", ["gaussian", "gmm"])
def test_a_correlation_comes_back(name, monkeypatch):
    monkeypatch.setattr(densities, "_COMPONENTS", 1)  # in many it would come back by their centres
    codes = RNG.normal(size=(4000, 2)) @ np.linalg.cholesky([[1, 0.95], [0.95, 1]]).T
    drawn = getattr(densities, name)(codes.astype(np.float32), 20000, 1.0, 0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), atol=0.04)


@pytest.mark.usefixtures("untrained")
def test_the_noise_of_the_second_stage_is_what_its_network_does_not_explain(codes):
    drawn = densities.two_stage(codes, NUM, 1.0, 0)
    np.testing.assert_allclose(drawn.std(0), codes.std(0), rtol=0.15)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.3  # it has learned next to nothing


def test_codes_that_are_not_finite_are_reported():
    with pytest.raises(Diverged, match="--seed"):
        densities._finite(np.array([np.nan]))
