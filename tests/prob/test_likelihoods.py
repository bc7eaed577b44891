"""Every likelihood against SciPy with all its constants, and its mean and start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vae_jax.build import build, components

SHAPE, LEVEL = (5, 3, 2, 2), np.arange(256) / 255


@pytest.fixture
def maps():
    return np.random.default_rng(0).normal(size=(*SHAPE, 256)).astype(np.float32)


@pytest.fixture
def x():
    return np.random.default_rng(1).uniform(size=SHAPE).astype(np.float32)


@functools.cache
def likelihood(name, **options):
    return build("prob.likelihoods", {"name": name, **options})()


def softplus(v):
    return np.log1p(np.exp(v))


def shared_of(family):
    return {name: np.float32(value) for name, value in (family.shared | family.fitted).items()}


def log_logistic_bin(maps, x):
    """log P(k) from the distribution function, its two ends at infinity."""
    x = np.rint(255 * x.astype(np.float64)) / 255
    low, high = np.where(x == 0, -np.inf, x - 1 / 510), np.where(x == 1, np.inf, x + 1 / 510)
    logistic = scipy.stats.logistic(maps[..., 0], 1e-3 + softplus(maps[..., 1] + np.log(np.expm1(0.1))))
    # In the upper tail both values are nearly 1, and the other side tells them apart.
    below, above = logistic.cdf(high) - logistic.cdf(low), logistic.sf(low) - logistic.sf(high)
    return np.log(np.where(x > maps[..., 0], above, below))


def log_mixture(maps, x):
    first, second, third = ([maps[..., m + 3 * kind] for kind in range(3)] for m in range(3))
    means = first[0] - 1 / 3, first[0] + second[0], first[0] + third[0] + 1 / 3
    bins = [log_logistic_bin(np.stack([m, c[1]], -1), x) for m, c in zip(means, (first, second, third), strict=True)]
    weights = scipy.special.log_softmax([first[2], second[2], third[2]], axis=0)
    return scipy.special.logsumexp(np.stack(bins) + weights, axis=0)


def log_categorical(maps, x):
    logits = LEVEL * maps[..., :1] + np.concatenate([0 * maps[..., :1], maps[..., 1:]], -1)
    level = np.rint(255 * x).astype(int)
    return np.take_along_axis(scipy.special.log_softmax(logits, -1), level[..., None], -1)[..., 0]


def log_beta_binomial(maps, x):
    total = 1 / (np.exp(-maps[..., 1]) + 1e-3)
    mean = scipy.special.expit(maps[..., 0])
    return scipy.stats.betabinom(255, mean * total, (1 - mean) * total).logpmf(np.rint(255 * x))


def log_truncated_exponential(maps, x):
    """An exponential cut off at 1, from the left or from the right: the continuous Bernoulli by another name."""
    rate = np.abs(maps[..., 0])
    return scipy.stats.truncexpon(rate, scale=1 / rate).logpdf(np.where(maps[..., 0] < 0, x, 1 - x))


EXPECTED = {
    "bernoulli": lambda maps, x: scipy.stats.bernoulli(scipy.special.expit(maps[..., 0])).logpmf(x),
    "continuous_bernoulli": log_truncated_exponential,
    "gaussian": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.7).logpdf(x),
    "gaussian_shared_scale": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.31).logpdf(x),
    "gaussian_optimal": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.1**0.5).logpdf(x),
    "gaussian_pixel_scale": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.1 + softplus(maps[..., 1])).logpdf(x),
    "laplace": lambda maps, x: scipy.stats.laplace(maps[..., 0], 0.3).logpdf(x),
    "beta_binomial": log_beta_binomial,
    "discretized_logistic": log_logistic_bin,
    "logistic_mixture": log_mixture,
    "categorical": log_categorical,
}
LEVELS = ("beta_binomial", "discretized_logistic", "logistic_mixture", "categorical")
OPTIONS = {
    "gaussian": {"scale": 0.7},
    "gaussian_pixel_scale": {"min_scale": 0.1},
    "laplace": {"scale": 0.3},
    "logistic_mixture": {"num_components": 3},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_log_prob_is_scipys_summed_over_pixels(name, maps, x):
    family = likelihood(name, **OPTIONS.get(name, {}))
    x = (x > 0.5).astype(np.float32) if name == "bernoulli" else x
    x = np.clip(np.rint(300 * x - 20), 0, 255).astype(np.float32) / np.float32(255) if name in LEVELS else x
    maps = maps[..., : family.num_maps]
    expected = EXPECTED[name](maps.astype(np.float64), x).sum((1, 2, 3))
    np.testing.assert_allclose(jax.jit(family.log_prob)(maps, shared_of(family), x), expected, rtol=2e-5, atol=2e-5)


def test_all_are_tested_here_and_only_masses_are_for_pixels_of_few_values():
    assert components("prob.likelihoods").keys() == EXPECTED.keys()
    supports = {name: likelihood(name).support for name in EXPECTED}
    assert supports == dict.fromkeys(EXPECTED, "unit") | dict.fromkeys(LEVELS, "levels") | {"bernoulli": "binary"}
    bases = {name: likelihood(name).bases for name in EXPECTED}
    assert bases == dict.fromkeys(EXPECTED, ()) | dict.fromkeys(LEVELS, (16, 16)) | {"bernoulli": (2,)}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_first_map_of_the_offset_has_the_mean_picture_and_is_finite_where_that_is_black_or_white(name):
    family = likelihood(name)
    for values, atol in (np.linspace(0.01, 0.99, 12), 2e-6), (np.tile([0.0, 1.0], 6), 6e-3):
        picture = np.float32(values).reshape(3, 2, 2)
        maps = np.zeros((1, 3, 2, 2, family.num_maps), np.float32)
        maps[..., 0] = family.offset(picture)
        np.testing.assert_allclose(jax.jit(family.mean)(maps)[0], picture, atol=atol)


def quadrature(name):
    """Return values of x and how much each counts."""
    if name == "bernoulli":
        return np.array([0.0, 1.0]), 1
    if name in LEVELS:
        return LEVEL, 1
    if name == "continuous_bernoulli":
        return (np.arange(2000) + 0.5) / 2000, 1 / 2000
    return np.arange(-30000, 30000) / 1000, 1 / 1000


@pytest.mark.parametrize("name", EXPECTED)
def test_mean_is_the_expectation(name, maps):
    family, (x, weight) = likelihood(name), quadrature(name)
    maps = maps[:1, ..., : family.num_maps]
    if name == "discretized_logistic":  # away from 0 and 1, where m is the mean and not only the median
        maps = np.stack([0.5 + 0.1 * maps[..., 0], 0.1 * maps[..., 1] - 2.3], -1)  # scales around 0.01
    with jax.enable_x64(True):

        @jax.jit
        @jax.vmap
        def expectation_and_mean(one):
            log_prob = family.log_prob(jnp.tile(one, (len(x), 1, 1, 1, 1)), shared_of(family), x.reshape(-1, 1, 1, 1))
            return (jnp.exp(log_prob) * x).sum() * weight, family.mean(one)

        expected, found = expectation_and_mean(maps.reshape(-1, family.num_maps).astype(np.float64))
        np.testing.assert_allclose(found, expected, atol=1e-5)
