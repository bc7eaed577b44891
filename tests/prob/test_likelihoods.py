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


EXPECTED = {
    "bernoulli": lambda maps, x: scipy.stats.bernoulli(scipy.special.expit(maps[..., 0])).logpmf(x),
    "gaussian": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.7).logpdf(x),
    "gaussian_shared_scale": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.31).logpdf(x),
    "gaussian_pixel_scale": lambda maps, x: scipy.stats.norm(maps[..., 0], 0.1 + softplus(maps[..., 1])).logpdf(x),
    "laplace": lambda maps, x: scipy.stats.laplace(maps[..., 0], 0.3).logpdf(x),
}
OPTIONS = {"gaussian": {"scale": 0.7}, "gaussian_pixel_scale": {"min_scale": 0.1}, "laplace": {"scale": 0.3}}


@pytest.mark.parametrize("name", EXPECTED)
def test_log_prob_is_scipys_summed_over_pixels(name, maps, x):
    family = getattr(likelihoods, name)(**OPTIONS.get(name, {}))
    x = (x > 0.5).astype(np.float32) if name == "bernoulli" else x
    maps = maps[..., : family.num_maps]
    expected = EXPECTED[name](maps.astype(np.float64), x).sum((1, 2, 3))
    np.testing.assert_allclose(family.log_prob(maps, shared_of(family), x), expected, rtol=2e-5)


def test_all_are_tested_here_and_only_bernoulli_is_for_binary_pixels():
    assert components("prob.likelihoods").keys() == EXPECTED.keys()
    supports = {name: getattr(likelihoods, name)().support for name in EXPECTED}
    assert supports == dict.fromkeys(EXPECTED, "unit") | {"bernoulli": "binary"}


def test_the_bernoulli_masses_of_its_support_sum_to_one():
    family, logit = likelihoods.bernoulli(), jnp.full((2, 1, 1, 1, 1), 0.7)
    mass = jnp.exp(family.log_prob(logit, {}, jnp.array([0.0, 1.0]).reshape(2, 1, 1, 1)))
    assert float(mass.sum()) == pytest.approx(1, rel=1e-6)


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
