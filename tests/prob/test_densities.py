"""Likelihoods that give densities: they integrate to 1 and stay finite, and what a fitted scale is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.prob.test_likelihoods import EXPECTED, LEVELS, likelihood, shared_of

DENSITIES = sorted(EXPECTED.keys() - {"bernoulli", *LEVELS})


def log_density(name, maps, x):
    """Return log p of every x [X] under one pixel's maps [P]: [X]."""
    family = likelihood(name)
    maps = jnp.broadcast_to(maps, (len(x), 1, 1, 1, family.num_maps))
    return family.log_prob(maps, shared_of(family), x.reshape(-1, 1, 1, 1))


@pytest.mark.parametrize("name", DENSITIES)
def test_density_integrates_to_one(name):
    with jax.enable_x64(True):
        integral = jax.jit(lambda maps, x: jnp.exp(log_density(name, maps, x)).mean())
        for first in (-20.0, -0.9, 0.0, 1e-4, 1.1, 30.0):
            low, high = (0.0, 1.0) if name == "continuous_bernoulli" else (first - 12, first + 12)
            x = low + (high - low) * (np.arange(40000) + 0.5) / 40000
            found = integral(np.array([first, 0.3])[: likelihood(name).num_maps], x) * (high - low)
            assert float(found) == pytest.approx(1, abs=1e-5), first


@pytest.mark.parametrize("name", DENSITIES)
def test_density_and_gradient_are_finite_at_extreme_maps(name):
    grid = np.stack(np.meshgrid([-1e4, 0.0, 1e4], [-1e4, 1e4], [0.0, 0.3, 1.0]), -1).reshape(-1, 3).astype(np.float32)
    run = jax.jit(jax.vmap(jax.value_and_grad(lambda maps, x: log_density(name, maps, x[None])[0])))
    value, slope = run(grid[:, : likelihood(name).num_maps], grid[:, 2])
    assert np.isfinite(value).all() and np.isfinite(slope).all()


def test_continuous_bernoulli_is_accurate_around_one_half_and_at_the_border_of_its_series():
    near = np.r_[0.0, np.geomspace(1e-12, 1e-3, 10)]
    far = np.r_[np.geomspace(1e-2, 1e4, 40), np.nextafter(np.float32(1), 0), 1.0, np.nextafter(np.float32(1), 2)]
    logits = np.concatenate([-far, -near, near, far]).astype(np.float32)
    size, x = np.abs(logits.astype(np.float64)), 0.3
    with np.errstate(divide="ignore", invalid="ignore"):
        log_normaliser = np.maximum(logits, 0) + np.log(-np.expm1(-size) / size)
        mean = np.where(logits < 0, 1 / size - np.exp(-size) / -np.expm1(-size), 1 / -np.expm1(-size) - 1 / size)
    small = size <= 1e-3
    log_normaliser = np.where(small, logits / 2 + size**2 / 24, log_normaliser)
    mean = np.where(small, 0.5 + logits / 12, mean)

    @jax.jit
    @jax.vmap
    def value_and_slope(logit):
        return jax.value_and_grad(lambda m: log_density("continuous_bernoulli", m, jnp.array([x]))[0])(logit[None])

    value, slope = value_and_slope(logits)
    np.testing.assert_allclose(value, x * logits.astype(np.float64) - log_normaliser, rtol=1e-6, atol=3e-7)
    np.testing.assert_allclose(slope[:, 0], x - mean, atol=5e-7)
    found = jax.jit(likelihood("continuous_bernoulli").mean)(logits[:, None, None, None, None])
    np.testing.assert_allclose(np.ravel(found), mean, atol=5e-7)


def test_learned_scale_never_falls_below_its_floor():
    x = np.random.default_rng(1).uniform(size=(5, 3, 2, 2)).astype(np.float32)
    for name, shared in (("gaussian_shared_scale", {"raw_scale": -1e4}), ("gaussian_optimal", {"variance": 0.0})):
        exact = jax.jit(likelihood(name, min_scale=0.2).log_prob)(x[..., None], shared, x)
        np.testing.assert_allclose(exact, scipy.stats.norm(0, 0.2).logpdf(0) * x[0].size, rtol=1e-5)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(2)
    return np.float32(rng.normal(size=(6, 4, 3, 2, 1))), np.float32(rng.uniform(size=(6, 4, 3, 2)))


def test_optimal_variance_maximises_the_likelihood_of_its_batch(pictures):
    family = likelihood("gaussian_optimal")

    @jax.jit
    def best_with_value_slope_and_curvature(maps, x):
        def log_prob(variance):
            return family.log_prob(maps, {"variance": variance}, x).sum()

        best = family.fit(maps, x)["variance"]
        return best, log_prob(best), jax.grad(log_prob)(best), jax.grad(jax.grad(log_prob))(best)

    best, value, slope, curvature = map(float, best_with_value_slope_and_curvature(*pictures))
    assert slope == pytest.approx(0, abs=1e-3)
    assert curvature < -1
    assert value == pytest.approx(-pictures[1].size / 2 * np.log(2 * np.pi * np.e * best), rel=1e-5)


def test_optimal_variance_has_the_gradient_of_the_closed_form_where_it_has_settled(pictures):
    family, pixels = likelihood("gaussian_optimal"), pictures[1][0].size

    @jax.jit
    def gradients(maps, x):
        settled = family.fit(maps, x)["variance"]
        fixed, away = (
            jax.grad(lambda m, by=by: -family.log_prob(m, {"variance": by * settled}, x).mean())(maps) for by in (1, 2)
        )
        return fixed, away, jax.grad(lambda m: pixels / 2 * jnp.log(jnp.square(x - m[..., 0]).mean()))(maps)

    fixed, away, closed = map(np.asarray, gradients(*pictures))
    np.testing.assert_allclose(fixed, closed, rtol=1e-5)
    np.testing.assert_allclose(2 * away, closed, rtol=1e-5)  # elsewhere only the direction is the same


def test_only_the_optimal_scale_is_fitted_and_to_what_it_says():
    for name in EXPECTED:
        family = likelihood(name)
        assert (family.fit is None) == (not family.fitted) == (name != "gaussian_optimal")
    x = np.zeros((1, 2, 2, 1), np.float32)
    found = likelihood("gaussian_optimal").fit(x[..., None], x)
    assert found.keys() == likelihood("gaussian_optimal").fitted.keys()
