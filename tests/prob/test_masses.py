"""Likelihoods that give probability masses: they sum to 1, agree with their digits, and stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from tests.prob.test_likelihoods import LEVELS, likelihood


def test_the_bernoulli_masses_of_its_support_sum_to_one():
    family, logit = likelihood("bernoulli"), jnp.full((2, 1, 1, 1, 1), 0.7)
    mass = jnp.exp(family.log_prob(logit, {}, jnp.array([0.0, 1.0]).reshape(2, 1, 1, 1)))
    assert float(mass.sum()) == pytest.approx(1, rel=1e-6)


def masses_of_digits(family, maps):
    """Return P(high digit) P(low digit | high digit): [..., 16, 16]."""

    @jax.jit
    def masses(maps):
        every = jnp.broadcast_to(jnp.arange(16).reshape(16, 1, 1, 1, 1), (16, *maps.shape[:-1]))
        low = jax.vmap(lambda digit: family.digit(maps, (digit,)), out_axes=-2)(every)
        return family.digit(maps, ())[..., None] * low

    return masses(maps)


@pytest.mark.parametrize("name", LEVELS)
def test_the_masses_of_256_levels_sum_to_one_and_are_those_of_the_digits(name):
    family, rng = likelihood(name), np.random.default_rng(2)
    with jax.enable_x64(True):
        maps = jnp.asarray(rng.normal(0, 3, (1, 40, 1, 1, family.num_maps)))
        x = jnp.arange(256).reshape(256, 1, 1, 1) / 255

        @jax.jit
        def log_masses(m):
            return jax.vmap(lambda m: family.log_prob(jnp.broadcast_to(m, (256, 1, 1, 1, m.size)), {}, x))(m)

        log_mass = log_masses(maps[0])
        np.testing.assert_allclose(jnp.exp(log_mass).sum(1), 1, rtol=3e-7)  # log Gamma is good to 4e-8
        masses = masses_of_digits(family, maps).reshape(40, 256)
        # An entropy coder gives every value 2^-24 at least, so that digits need not tell smaller masses apart.
        np.testing.assert_allclose(masses, jnp.exp(log_mass), rtol=1e-6, atol=1e-8)


def values_and_slopes(name, grid, levels, dtype):
    family = likelihood(name)

    def log_prob(maps, x):
        return family.log_prob(maps.reshape(1, 1, 1, 1, -1), {}, x.reshape(1, 1, 1, 1))[0]

    return jax.jit(jax.vmap(jax.value_and_grad(log_prob)))(jnp.asarray(grid, dtype), jnp.asarray(levels / 255, dtype))


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
    means = likelihood(name).mean(jnp.asarray(grid, jnp.float32).reshape(100, 1, 1, 1, -1))
    assert ((means >= 0) & (means <= 1.000001)).all()


def test_a_mixture_of_one_is_the_discretized_logistic():
    rng = np.random.default_rng(4)
    maps, x = rng.normal(size=(3, 4, 2, 1, 3)).astype(np.float32), rng.integers(0, 256, (3, 4, 2, 1)) / np.float32(255)
    one, many = likelihood("discretized_logistic"), likelihood("logistic_mixture", num_components=1)
    found, expected = (jax.jit(f.log_prob)(maps[..., : f.num_maps], {}, x) for f in (many, one))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_mixture_starts_with_every_level_within_reach_and_components_that_learn_apart():
    family = likelihood("logistic_mixture")
    maps = jnp.zeros((1, 1, 1, 1, family.num_maps)).at[..., 0].set(family.offset(np.full((1, 1, 1), 0.5)))
    assert float(masses_of_digits(family, maps).min()) > 0.2 / 256
    slope = jax.jit(jax.grad(lambda m: family.log_prob(m, {}, jnp.full((1, 1, 1, 1), 0.2))[0]))(maps).ravel()
    assert len(np.unique(np.round(slope[1:], 6))) > 10


def test_categorical_starts_as_the_distribution_of_greatest_entropy_with_the_mean_of_the_data():
    family, level = likelihood("categorical"), np.arange(256) / 255
    maps = jnp.zeros((1, 1, 1, 1, 256)).at[..., 0].set(family.offset(np.full((1, 1, 1), 0.3)))
    log_mass = np.log(masses_of_digits(family, maps).ravel())
    assert np.exp(log_mass) @ level == pytest.approx(0.3, abs=1e-5)
    np.testing.assert_allclose(np.diff(log_mass), np.diff(log_mass)[0], atol=1e-5)  # its form: log P is linear in k


def test_categorical_can_be_any_distribution():
    target = np.random.default_rng(5).dirichlet(np.full(256, 0.3)) + 1e-6
    target /= target.sum()
    free = np.log(target) - np.log(target[0])
    for tilt in (0.0, 7.0):  # the tilt is one of two ways to say the same
        maps = jnp.asarray(np.r_[tilt, (free - tilt * np.arange(256) / 255)[1:]], jnp.float32).reshape(1, 1, 1, 1, 256)
        x = jnp.arange(256).reshape(256, 1, 1, 1) / 255
        found = likelihood("categorical").log_prob(jnp.broadcast_to(maps, (256, 1, 1, 1, 256)), {}, x)
        np.testing.assert_allclose(found, np.log(target), atol=2e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("logit", [-1e4, -88.0, 0.0, 88.0, 1e4])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_bernoulli_is_finite_with_the_right_gradient_at_extreme_logits(dtype, logit, target):
    family = likelihood("bernoulli")
    x = jnp.full((1, 1, 1, 1), target, dtype)

    def log_prob(value):
        return family.log_prob(jnp.reshape(value, (1, 1, 1, 1, 1)), {}, x)[0]

    value, slope = jax.value_and_grad(log_prob)(jnp.array(logit, dtype))
    expected = scipy.special.log_expit(logit if target else -logit)
    assert float(value) == pytest.approx(expected, rel=1e-2 if dtype == jnp.bfloat16 else 1e-5, abs=1e-30)
    assert float(slope) == pytest.approx(target - scipy.special.expit(logit), rel=1e-2, abs=1e-6)
