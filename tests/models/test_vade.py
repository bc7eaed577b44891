"""VaDE: both parts of its loss, its clusters, and the mixture that it is fitted to."""

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats
from sklearn.mixture import GaussianMixture

from tests.models.test_conformance import SHAPE, batch_of
from tests.variants import load_small
from vae_jax.models import vade
from vae_jax.trained import make_model
from vae_jax.types import Spec

HYPERS = {"beta": np.float32(2.0), "pretrain_steps": np.float32(5)}


@pytest.fixture(scope="module")
def built():
    model = make_model(load_small("zoo_clustering.py:variant=vade"), Spec(SHAPE, 0, np.full(SHAPE, 0.5), "binary"))
    params, stats = jax.jit(model.init)(jax.random.key(0))
    biased = params["posterior"]["log_scale"]["bias"] - 2.0
    params["posterior"]["log_scale"]["bias"] = biased  # another scale than at the start
    loss = jax.jit(lambda params, key, step: model.loss(params, stats, batch_of(range(6)), key, HYPERS, step))
    return model, params, stats, loss


def test_before_the_mixture_the_loss_is_that_of_an_autoencoder(built):
    model, params, stats, loss = built
    batch = batch_of(range(6))

    @jax.jit
    def picture_and_draws(params):
        picture = model.decode(params, stats, model.encode(params, stats, batch), batch["label"])
        keys = jax.random.split(jax.random.key(0), 2000)
        return picture, jax.vmap(lambda key: model.draw(params, stats, batch, key))(keys)

    picture, draws = (np.asarray(values, np.float64) for values in picture_and_draws(params))
    error = -np.log(np.where(batch["image"] > 0.5, picture, 1 - picture)).sum((1, 2, 3))
    ratio = np.std(draws, axis=0) / 0.1
    held = (0.5 * (ratio**2 - 1) - np.log(ratio)).sum(-1)  # of a normal to the one of scale 0.1 about its mean
    assert np.abs(held).min() > 0.1
    losses = [float(loss(params, jax.random.key(seed), 4)[0]) for seed in range(2)]
    assert losses[0] == losses[1] == pytest.approx((error + held).mean(), rel=1e-2)
    moved = params | {"prior": jax.tree.map(lambda leaf: leaf + 1, params["prior"])}
    assert float(loss(moved, jax.random.key(0), 4)[0]) == losses[0]
    assert float(loss(moved, jax.random.key(0), 5)[0]) != float(loss(params, jax.random.key(0), 5)[0])


def test_after_it_the_loss_weighs_the_kl_divergence_with_beta(built):
    _, params, _, loss = built
    value, (_, metrics) = loss(params, jax.random.key(0), 5)
    distortion, rate, bound = (float(metrics[f"{name}_nats"]) for name in ("distortion", "rate", "neg_elbo"))
    assert float(value) == pytest.approx(distortion + 2 * rate, rel=1e-6)
    assert bound == pytest.approx(distortion + rate, rel=1e-6)


def test_summing_over_the_clusters_bounds_any_choice_of_theirs(built):
    model, params, stats, _ = built
    z = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    prior = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["prior"])
    log_joint = np.stack(
        [
            scipy.special.log_softmax(prior["log_weights"])[c]
            + scipy.stats.norm(prior["loc"][c], np.exp(prior["log_scale"][c])).logpdf(z).sum(-1)
            for c in range(3)
        ],
        axis=1,
    )
    np.testing.assert_allclose(jax.jit(model.clusters)(params, stats, z), log_joint, rtol=1e-5)
    log_pz = scipy.special.logsumexp(log_joint, axis=1)
    chosen = scipy.special.softmax(log_joint, axis=1)
    bound = lambda share: (share * (log_joint - np.log(share))).sum(axis=1)  # noqa: E731
    np.testing.assert_allclose(bound(chosen), log_pz)
    assert (bound(np.roll(chosen, 1, axis=0)) < log_pz).all()


def test_the_mixture_is_found_in_the_codes_whatever_their_unit(built):
    model, params, stats, _ = built
    rng = np.random.default_rng(0)
    centres, scales = np.array([[0, 0, 9], [9, 0, 0], [0, -9, 0]]), np.array([[1, 2, 1], [1, 1, 1], [0.5, 1, 1]])
    label = rng.choice(3, size=3000, p=[0.5, 0.3, 0.2])
    for unit in 1e-3, 10.0:
        codes = (unit * (centres[label] + scales[label] * rng.normal(size=(3000, 3)))).astype(np.float32)
        found = model.refit(params, codes, 0)
        order = np.asarray(found["prior"]["log_weights"]).argsort()[::-1]
        np.testing.assert_allclose(np.exp(found["prior"]["log_weights"])[order], [0.5, 0.3, 0.2], atol=0.03)
        np.testing.assert_allclose(found["prior"]["loc"][order] / unit, centres, atol=0.2)
        np.testing.assert_allclose(np.exp(found["prior"]["log_scale"])[order] / unit, scales, rtol=0.1)
        assert all(value.dtype == np.float32 for value in found["prior"].values())
        groups = np.asarray(model.clusters(found, stats, codes)).argmax(1)
        assert (order[label] == groups).mean() > 0.99
        again = model.refit(params, codes, 0)["prior"]
        assert all(np.array_equal(found["prior"][name], again[name]) for name in again)
        assert all(found[name] is params[name] for name in params if name != "prior")


def test_the_likeliest_of_several_mixtures_is_kept():
    """Of 36 groups a single start mostly finds some as one."""
    grid = 6.0 * np.stack(np.unravel_index(np.arange(36), (6, 6)), 1)
    codes = np.repeat(grid, 20, 0) + np.random.default_rng(0).normal(size=(720, 2))

    def log_likelihood(found):
        scale = np.exp(found["log_scale"])[:, None]
        each = scipy.stats.norm(found["loc"][:, None], scale).logpdf(codes).sum(-1) + found["log_weights"][:, None]
        return scipy.special.logsumexp(each, 0).mean()

    for seed in 0, 2:
        single = GaussianMixture(36, covariance_type="diag", max_iter=200, random_state=seed).fit(codes)
        assert log_likelihood(vade._fit(codes.astype(np.float32), 36, seed)) > single.score(codes) + 0.02
