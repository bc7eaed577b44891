"""Figures of masses are given in bits per dimension too, from the same numbers; those of densities are not."""

import math
import types

import numpy as np
import pytest

from tests.variants import load_small
from vae_jax.evaluation.baselines import fit_pca
from vae_jax.evaluation.summary import bits_per_dim, evaluate_baselines
from vae_jax.reporting.table import figure_lines
from vae_jax.results import _num_dims


def test_bits_per_dim_are_nats_over_log_two_and_the_number_of_values():
    rng = np.random.default_rng(0)
    nll, bound = rng.uniform(500, 600, 10), rng.uniform(600, 700, 10)
    figures = {
        "neg_elbo_nats": bound.mean(),
        "rate_nats": 20.0,
        "neg_elbo_nats_standard_error": bound.std(),
        "nll_nats": nll.mean(),
        "nll_nats_standard_error": nll.std(),
        "nll_num_samples": 100,
    }
    found = bits_per_dim(figures, 28 * 28 * 3)
    each = {"neg_elbo_bits_per_dim": np.log2(np.exp(1)) * bound / 2352, "nll_bits_per_dim": nll / math.log(2) / 2352}
    expected = {name: bits.mean() for name, bits in each.items()}
    expected |= {f"{name}_standard_error": bits.std() for name, bits in each.items()}
    assert found == pytest.approx(expected)
    lines = {line.split()[0]: line.split()[1:] for line in figure_lines(figures | found)}
    mean, error = f"{expected['nll_bits_per_dim']:.5g}", f"{nll.std() / 2352 / math.log(2):.2g}"
    assert lines["nll_bits_per_dim"] == [mean, "±", error]
    assert not any(name.endswith("_standard_error") for name in lines)


@pytest.mark.parametrize(
    "variant, mass",
    [
        ("zoo_likelihoods.py:variant=bernoulli", True),
        ("zoo_likelihoods.py:variant=logistic_mixture", True),
        ("zoo_likelihoods.py:variant=continuous_bernoulli", False),
        ("zoo_likelihoods.py:variant=gaussian_optimal", False),
        ("digits.py:variant=autoencoder", False),
    ],
)
def test_only_masses_are_worth_bits(variant, mass):
    assert _num_dims(load_small(variant), (28, 27, 3)) == (28 * 27 * 3 if mass else None)


def test_baselines_reconstruct_what_the_model_is_shown():
    rng = np.random.default_rng(0)
    train, images, damaged = (rng.random((n, 4, 4, 1)) for n in (50, 7, 7))
    pca = fit_pca(train, 3)
    feed = types.SimpleNamespace(
        size=7, compiled=lambda see: lambda index: see({"image": images[index], "input": damaged[index]})
    )
    found = evaluate_baselines(pca, train, feed)
    assert found["pca_mse"] == pytest.approx(np.square(pca.reconstruct(damaged) - images).mean())
    assert found["ppca_nll_density_nats"] == pytest.approx(pca.neg_log_likelihood(images).mean())
