"""The aggregate posterior's density from a batch, against that of all data, in float64."""

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vae_jax.errors import ConfigError
from vae_jax.prob.aggregate import _log_weights, log_aggregate
from vae_jax.prob.distributions import Normal, kl, standard_normal

N = 60


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def data(count=N, size=2):
    """Posteriors that overlap, and a draw of each."""
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=(count, size)), rng.uniform(0.5, 1.5, (count, size))
    return loc, scale, loc + scale * rng.normal(size=loc.shape)


def exact(z, loc, scale):
    """log q(z_i) and log q(z_ij) under the mean of all posteriors, by SciPy."""
    each = scipy.stats.norm(loc[None], scale[None]).logpdf(z[:, None])
    return tuple(scipy.special.logsumexp(v, 1) - np.log(len(loc)) for v in (each.sum(-1), each))


def estimate(loc, scale, z, num_examples, estimator):
    found = jax.jit(log_aggregate, static_argnums=(2, 3))(Normal(loc, scale), z, num_examples, estimator)
    return tuple(map(np.asarray, found))


@pytest.mark.parametrize("estimator", ["exact", "stratified"])
def test_the_whole_data_as_the_batch_gives_the_exact_density(estimator):
    loc, scale, z = data()
    for found, expected in zip(estimate(loc, scale, z, N, estimator), exact(z, loc, scale), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_weighted_one_is_low_by_log_n_throughout():
    """1 / NB in place of 1 / B: a constant of the total correlation's D + 1 logs, which training does not see."""
    loc, scale, z = data()
    for found, expected in zip(estimate(loc, scale, z, N, "weighted"), exact(z, loc, scale), strict=True):
        np.testing.assert_allclose(found, expected - np.log(N), rtol=1e-10)


def test_the_stratified_density_is_unbiased_over_batches():
    """The mean over all batches that hold example 0 is q(z_0); that of the exact one of the batch is not."""
    loc, scale, z = data()
    rng, mean = np.random.default_rng(1), {"stratified": [], "exact": []}
    for _ in range(400):
        rows = np.concatenate([[0], 1 + rng.permutation(N - 1)[:5]])
        for estimator, values in mean.items():
            values.append(np.exp(estimate(loc[rows], scale[rows], z[rows], N, estimator)[0][0]))
    expected = np.exp(exact(z, loc, scale)[0][0])
    values = np.array(mean["stratified"])
    assert abs(values.mean() - expected) < 4 * values.std() / len(values) ** 0.5
    assert abs(np.mean(mean["exact"]) - expected) > 0.05 * expected


def test_information_correlation_and_divergences_of_the_latents_add_up_to_the_kl():
    """E KL(q(z|x) || p) = MI + TC + sum_j KL(q(z_j) || p_j) (Chen et al. 2018, equation 2), with draws for means."""
    loc, scale, _ = data(40)
    rng = np.random.default_rng(2)
    rows = np.tile(np.arange(40), 300)
    z = loc[rows] + scale[rows] * rng.normal(size=(len(rows), 2))
    joint, each = exact(z, loc, scale)
    inside = scipy.stats.norm(loc[rows], scale[rows]).logpdf(z).sum(-1)
    prior = scipy.stats.norm().logpdf(z)
    parts = (inside - joint).mean() + (joint - each.sum(-1)).mean() + (each - prior).sum(-1).mean()
    whole = jax.jit(kl)(Normal(loc, scale), standard_normal(2))
    assert parts == pytest.approx(np.mean(whole), abs=0.05)


def test_independent_latents_have_no_total_correlation_as_the_batch_grows():
    rng = np.random.default_rng(3)
    found = {}
    for count in (32, 1024):
        loc = rng.normal(size=(count, 2))
        scale = np.full_like(loc, 0.7)
        joint, each = estimate(loc, scale, loc + scale * rng.normal(size=loc.shape), 10**6, "stratified")
        found[count] = abs((joint - each.sum(-1)).mean())
    assert found[1024] < 0.1
    assert found[1024] < found[32]


def test_unknown_estimators_are_refused():
    with pytest.raises(ConfigError, match="known: exact, weighted, stratified"):
        estimate(*data(), N, "mws")


@pytest.mark.parametrize("batch, num_examples", [(5, 100), (2, 3), (1, 10), (7, 7)])
def test_the_weights_of_stratified_sampling_sum_to_one(batch, num_examples):
    weights = np.exp(_log_weights(batch, num_examples, "stratified"))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
