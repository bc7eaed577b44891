"""Every likelihood against SciPy with all its constants, and at the edges of floating point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vae_jax.build import components
from vae_jax.prob import likelihoods

SHAPE = (5, 3, 2, 2)


@pytest.fixture
def maps():
    return np.random.default_rng(0).normal(size=(*SHAPE, 2)).astype(np.float32)


@pytest.fixture
def x():
    return np.random.default_rng(1).uniform(size=SHAPE).astype(np.float32)


def softplus(v):
    return np.log1p(np.exp(v))


def shared_of(family):
    return {name: jnp.float32(value) for name, value in family.shared.items()}


def log_logistic_bin(maps, x):
    """log P(k) from the distribution function, its two ends at infinity."""
    x = np.rint(255 * x.astype(np.float64)) / 255
    low, high = np.where(x == 0, -np.inf, x - 1 / 510), np.where(x == 1, np.inf, x + 1 / 510)
    logistic = scipy.stats.logistic(maps[..., 0], 1e-3 + softplus(maps[..., 1] + np.log(np.expm1(0.1))))
    # In the upper tail both values are nearly 1, and the other side tells them apart.
    below, above = logistic.cdf(high) - logistic.cdf(low), logistic.sf(low) - logistic.sf(high)
    return np.log(np.where(x > maps[..., 0], above, below))


def log_beta_binomial(maps, x):
    total = 1 / (np.exp(-maps[..., 1]) + 1e-3)
    mean = scipy.special.expit(maps[..., 0])
    return scipy.stats.betabinom(255, mean * total, (1 - mean) * total).logpmf(np.rint(255 * x))


EXPECTED = {
    "bernoulli": lambda maps, x: scipy.stats.bernoulli(scipy.special.expit(maps[..., 0])).logpmf(x),
    "gaussian": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.7).logpdf(x),
    "gaussian_shared_scale": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.31).logpdf(x),
    "gaussian_pixel_scale": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.1 + softplus(maps[..., 1])).logpdf(x),
    "laplace": lambda maps, x: scipy.stats.laplace(maps[..., 0], 0.3).logpdf(x),
    "beta_binomial": log_beta_binomial,
    "discretized_logistic": log_logistic_bin,
}
LEVELS = ("beta_binomial", "discretized_logistic")
OPTIONS = {"gaussian": {"scale": 0.7}, "gaussian_pixel_scale": {"min_scale": 0.1}, "laplace": {"scale": 0.3}}


@pytest.mark.parametrize("name", EXPECTED)
def test_log_prob_is_scipys_summed_over_pixels(name, maps, x):
    family = getattr(likelihoods, name)(**OPTIONS.get(name, {}))
    x = (x > 0.5).astype(np.float32) if name == "bernoulli" else x
    x = np.clip(np.rint(300 * x - 20), 0, 255).astype(np.float32) / np.float32(255) if name in LEVELS else x
    maps = maps[..., : family.num_maps]
    expected = EXPECTED[name](maps.astype(np.float64), x).sum((1, 2, 3))
    np.testing.assert_allclose(family.log_prob(maps, shared_of(family), x), expected, rtol=2e-5)


def test_all_are_tested_here_and_only_masses_are_for_pixels_of_few_values():
    assert components("prob.likelihoods").keys() == EXPECTED.keys()
    supports = {name: getattr(likelihoods, name)().support for name in EXPECTED}
    assert supports == dict.fromkeys(EXPECTED, "unit") | dict.fromkeys(LEVELS, "levels") | {"bernoulli": "binary"}
    bases = {name: getattr(likelihoods, name)().bases for name in EXPECTED}
    assert bases == dict.fromkeys(EXPECTED, ()) | dict.fromkeys(LEVELS, (16, 16)) | {"bernoulli": (2,)}


def test_the_bernoulli_masses_of_its_support_sum_to_one():
    family, logit = likelihoods.bernoulli(), jnp.full((2, 1, 1, 1, 1), 0.7)
    mass = jnp.exp(family.log_prob(logit, {}, jnp.array([0.0, 1.0]).reshape(2, 1, 1, 1)))
    assert float(mass.sum()) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("name", LEVELS)
def test_the_masses_of_256_levels_sum_to_one_and_are_those_of_the_digits(name):
    family, rng = getattr(likelihoods, name)(), np.random.default_rng(2)
    with jax.enable_x64(True):
        maps = jnp.asarray(rng.normal(0, 3, (1, 40, 1, 1, 2)))
        x = jnp.arange(256).reshape(256, 1, 1, 1) / 255
        log_mass = jax.vmap(lambda m: family.log_prob(jnp.broadcast_to(m, (256, 1, 1, 1, 2)), {}, x))(maps[0])
        np.testing.assert_allclose(jnp.exp(log_mass).sum(1), 1, rtol=3e-7)  # log Gamma is good to 4e-8
        high = family.digit(maps, ())
        every = (jnp.full((1, 40, 1, 1), digit) for digit in range(16))
        low = jnp.stack([family.digit(maps, (digit,)) for digit in every], -2)
        masses = (high[..., None] * low).reshape(40, 256)
        # An entropy coder gives every value 2^-24 at least, so that digits need not tell smaller masses apart.
        np.testing.assert_allclose(masses, jnp.exp(log_mass), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", LEVELS)
def test_masses_of_levels_are_finite_with_the_right_gradient_at_extreme_maps(name):
    family = getattr(likelihoods, name)()
    firsts, seconds, levels = (-1e4, -30.0, 0.5, 30.0, 1e4), (-1e4, -10.0, 10.0, 1e4), (0, 1, 128, 254, 255)
    grid = np.array([(a, b, k) for a in firsts for b in seconds for k in levels])

    def values_and_slopes(dtype):
        def log_prob(maps, x):
            return family.log_prob(maps.reshape(1, 1, 1, 1, 2), {}, x.reshape(1, 1, 1, 1))[0]

        maps, x = jnp.asarray(grid[:, :2], dtype), jnp.asarray(grid[:, 2] / 255, dtype)
        return jax.jit(jax.vmap(jax.value_and_grad(log_prob)))(maps, x)

    value, slope = values_and_slopes(jnp.float32)
    with jax.enable_x64(True):
        exact, exact_slope = values_and_slopes(jnp.float64)
    np.testing.assert_allclose(value, exact, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(slope, exact_slope, rtol=1e-3, atol=1e-3)
    far = (grid[:, 0] == -1e4) & (grid[:, 2] > 0) & (grid[:, 1] < 1e4)
    assert (slope[far, 0] > 0.05).all()  # a mean that is far too low is pulled up


@pytest.mark.parametrize("name", EXPECTED)
def test_mean_is_the_offset_picture_when_the_first_map_is_the_offset(name):
    family = getattr(likelihoods, name)()
    mean = np.linspace(0.01, 0.99, 12).reshape(3, 2, 2).astype(np.float32)
    maps = jnp.zeros((1, 3, 2, 2, family.num_maps)).at[..., 0].set(family.offset(mean))
    np.testing.assert_allclose(family.mean(maps)[0], mean, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("logit", [-1e4, -88.0, 0.0, 88.0, 1e4])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_bernoulli_is_finite_with_the_right_gradient_at_extreme_logits(dtype, logit, target):
    family = likelihoods.bernoulli()
    x = jnp.full((1, 1, 1, 1), target, dtype)

    def log_prob(value):
        return family.log_prob(jnp.reshape(value, (1, 1, 1, 1, 1)), {}, x)[0]

    value, slope = jax.value_and_grad(log_prob)(jnp.array(logit, dtype))
    expected = scipy.special.log_expit(logit if target else -logit)
    assert float(value) == pytest.approx(expected, rel=1e-2 if dtype == jnp.bfloat16 else 1e-5, abs=1e-30)
    assert float(slope) == pytest.approx(target - scipy.special.expit(logit), rel=1e-2, abs=1e-6)


def test_learned_scale_never_falls_below_its_floor(x):
    family = likelihoods.gaussian_shared_scale(min_scale=0.2)
    exact = family.log_prob(x[..., None], {"raw_scale": jnp.float32(-1e4)}, x)
    np.testing.assert_allclose(exact, scipy.stats.norm(0, 0.2).logpdf(0) * x[0].size, rtol=1e-5)
