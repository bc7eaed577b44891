"""Likelihoods that give probability masses: they sum to 1, agree with their digits, and stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from tests.prob.test_likelihoods import LEVELS, likelihood


def test_the_bernoulli_masses_of_its_support_sum_to_one():
    x, logit = np.float32([0, 1]).reshape(2, 1, 1, 1), np.full((2, 1, 1, 1, 1), 0.7, np.float32)
    assert np.exp(jax.jit(likelihood("bernoulli").log_prob)(logit, {}, x)).sum() == pytest.approx(1, rel=1e-6)


def log_masses(name, maps):
    """Return log P of the 256 levels under maps [N,P]: [N,256]."""
    family, x = likelihood(name), jnp.arange(256).reshape(256, 1, 1, 1) / 255

    @jax.jit
    @jax.vmap
    def of_one(maps):
        return family.log_prob(jnp.broadcast_to(maps, (256, 1, 1, 1, maps.size)), {}, x)

    return np.asarray(of_one(maps))


def masses_of_digits(family, maps):
    """Return P(high digit) P(low digit | high digit): [..., 16, 16]."""

    @jax.jit
    def masses(maps):
        every = jnp.broadcast_to(jnp.arange(16).reshape(16, 1, 1, 1, 1), (16, *maps.shape[:-1]))
        low = jax.vmap(lambda digit: family.digit(maps, (digit,)), out_axes=-2)(every)
        return family.digit(maps, ())[..., None] * low

    return np.asarray(masses(maps))


@pytest.mark.parametrize("name", LEVELS)
def test_the_masses_of_256_levels_sum_to_one_and_are_those_of_the_digits(name):
    family, rng = likelihood(name), np.random.default_rng(2)
    with jax.enable_x64(True):
        maps = rng.normal(0, 3, (1, 40, 1, 1, family.num_maps))
        mass = np.exp(log_masses(name, maps.reshape(40, -1)))
        np.testing.assert_allclose(mass.sum(1), 1, rtol=3e-7)  # log Gamma is good to 4e-8
        masses = masses_of_digits(family, maps).reshape(40, 256)
        # An entropy coder gives every value 2^-24 at least, so that digits need not tell smaller masses apart.
        np.testing.assert_allclose(masses, mass, rtol=1e-6, atol=1e-8)


def values_and_slopes(name, grid, levels, dtype):
    family = likelihood(name)

    def log_prob(maps, x):
        return family.log_prob(maps.reshape(1, 1, 1, 1, -1), {}, x.reshape(1, 1, 1, 1))[0]

    run = jax.jit(jax.vmap(jax.value_and_grad(log_prob)))
    return tuple(np.asarray(found, float) for found in run(jnp.asarray(grid, dtype), jnp.asarray(levels / 255, dtype)))


@pytest.mark.parametrize("name", ("beta_binomial", "discretized_logistic"))
def test_masses_of_levels_are_finite_with_the_right_gradient_at_extreme_maps(name):
    firsts, seconds, levels = (-1e4, -30.0, 0.5, 30.0, 1e4), (-1e4, -10.0, 10.0, 1e4), (0, 1, 128, 254, 255)
    grid = np.array([(a, b, k) for a in firsts for b in seconds for k in levels])
    value, slope = values_and_slopes(name, grid[:, :2], grid[:, 2], jnp.float32)
    with jax.enable_x64(True):
        exact, exact_slope = values_and_slopes(name, grid[:, :2], grid[:, 2], jnp.float64)
    np.testing.assert_allclose(value, exact, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(slope, exact_slope, rtol=1e-3, atol=1e-3)
    far = (grid[:, 0] == -1e4) & (grid[:, 2] > 0) & (grid[:, 1] < 1e4)
    assert (slope[far, 0] > 0.05).all()  # a mean that is far too low is pulled up


@pytest.mark.parametrize("name", ("logistic_mixture", "categorical"))
def test_masses_of_many_maps_are_finite_with_a_finite_gradient_at_extreme_maps(name):
    rng, num_maps = np.random.default_rng(3), likelihood(name).num_maps
    grid = rng.choice([-1e4, -30.0, 0.0, 30.0, 1e4], (100, num_maps))
    grid[0], grid[1] = -1e4, 1e4
    levels = rng.choice([0, 1, 128, 254, 255], 100)
    value, slope = values_and_slopes(name, grid, levels, jnp.float32)
    with jax.enable_x64(True):
        exact, _ = values_and_slopes(name, grid, levels, jnp.float64)
    np.testing.assert_allclose(value, exact, rtol=2e-3, atol=2e-3)  # a mean of 1e4 is only good to 1e-3
    assert np.isfinite(slope).all()
    assert (np.abs(slope).max(1) > 0)[value < -1e-3].all()
    means = np.asarray(jax.jit(likelihood(name).mean)(np.float32(grid).reshape(100, 1, 1, 1, -1)))
    assert ((means >= 0) & (means <= 1.000001)).all()


def test_a_mixture_of_one_is_the_discretized_logistic():
    rng = np.random.default_rng(4)
    maps, x = rng.normal(size=(3, 4, 2, 1, 3)).astype(np.float32), rng.integers(0, 256, (3, 4, 2, 1)) / np.float32(255)
    one, many = likelihood("discretized_logistic"), likelihood("logistic_mixture", num_components=1)
    found, expected = (jax.jit(f.log_prob)(maps[..., : f.num_maps], {}, x) for f in (many, one))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def at_start(name, mean):
    """Return the likelihood and the maps of a pixel for which the decoder says nothing."""
    family = likelihood(name)
    maps = np.zeros((1, 1, 1, 1, family.num_maps), np.float32)
    maps[..., 0] = family.offset(np.full((1, 1, 1), mean))
    return family, maps


def test_a_mixture_starts_with_every_level_within_reach_and_components_that_learn_apart():
    family, maps = at_start("logistic_mixture", 0.5)
    assert masses_of_digits(family, maps).min() > 0.2 / 256
    x = np.full((1, 1, 1, 1), 0.2, np.float32)
    slope = jax.jit(jax.grad(lambda m: family.log_prob(m, {}, x)[0]))(maps).ravel()
    assert len(np.unique(np.round(slope[1:], 6))) > 10


def test_categorical_starts_as_the_distribution_of_greatest_entropy_with_the_mean_of_the_data():
    log_mass = np.log(masses_of_digits(*at_start("categorical", 0.3)).ravel())
    assert np.exp(log_mass) @ np.arange(256) / 255 == pytest.approx(0.3, abs=1e-5)
    np.testing.assert_allclose(np.diff(log_mass), np.diff(log_mass)[0], atol=1e-5)  # its form: log P is linear in k


def test_categorical_can_be_any_distribution():
    target = np.random.default_rng(5).dirichlet(np.full(256, 0.3)) + 1e-6
    target /= target.sum()
    free = np.log(target) - np.log(target[0])
    tilts = np.array([[0.0], [7.0]])  # two ways to say the same
    maps = np.float32(np.hstack([tilts, (free - tilts * np.arange(256) / 255)[:, 1:]]))
    np.testing.assert_allclose(log_masses("categorical", maps), np.tile(np.log(target), (2, 1)), atol=2e-5)


@pytest.mark.parametrize("dtype, rtol", [(jnp.float32, 1e-5), (jnp.bfloat16, 1e-2)])
def test_bernoulli_is_finite_with_the_right_gradient_at_extreme_logits(dtype, rtol):
    logit, target = (v.ravel() for v in np.meshgrid([-1e4, -88.0, 0.0, 88.0, 1e4], [0.0, 1.0]))
    value, slope = values_and_slopes("bernoulli", logit[:, None], 255 * target, dtype)
    np.testing.assert_allclose(value, scipy.special.log_expit(np.where(target, logit, -logit)), rtol=rtol, atol=1e-30)
    np.testing.assert_allclose(slope[:, 0], target - scipy.special.expit(logit), rtol=1e-2, atol=1e-6)
