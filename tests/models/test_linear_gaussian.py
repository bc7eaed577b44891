"""Linear models have closed forms: PCA for the autoencoder, probabilistic PCA for the VAE. Real digits throughout."""

import functools

import jax
import numpy as np
import pytest

from tests.models.common import batch_of
from tests.variants import load
from vae_jax.data.sources.embedded import digits
from vae_jax.evaluation.baselines import fit_pca
from vae_jax.evaluation.likelihood import neg_log_likelihood
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers, make_optimizer
from vae_jax.training.step import init_state, make_step
from vae_jax.types import Spec

LATENT = 5


@pytest.fixture(scope="module")
def images():
    return digits(None).splits["train"].images[:400].astype(np.float32) / 16


@pytest.fixture(scope="module")
def batch(images):
    return batch_of(images)


@pytest.fixture(scope="module")
def pca(images):
    return fit_pca(images, LATENT)


def fitted(config, images, batch, steps):
    """Train on the full batch and return (model, params, stats)."""
    model = make_model(config, Spec(images.shape[1:], 0, images.mean(0)))
    optimizer = make_optimizer(config, steps, steps)
    step = make_step(model, optimizer)

    @jax.jit
    def run(key):
        state = init_state(model, optimizer, key, make_hypers(config.hypers, 1))
        return jax.lax.fori_loop(0, steps, lambda _, state: step(state, batch)[0], state)

    state = run(jax.random.key(0))
    return model, state.params, state.stats


def linear_config(variant, **more):
    fields = {"model__latent": LATENT, "schedule__warmup_epochs": 0.05, "schedule__final_fraction": 0.001}
    fields |= {"model__encoder__hidden": ()} if variant == "vae" else {}
    return load(f"digits.py:variant={variant}", **fields | more)


def ppca_model(images, pca, shift=0.0):
    """Return a VAE with parameters at the optimum of Lucas et al. (2019), its posterior mean moved by `shift`."""
    model = make_model(linear_config("vae"), Spec(images.shape[1:], 0, images.mean(0)))
    params, stats = jax.eval_shape(model.init, jax.random.key(0))
    variance = pca.noise_variance
    weights = pca.components.T * np.sqrt(pca.variances - variance)  # [P,D]
    m = weights.T @ weights + variance * np.eye(LATENT)
    to_loc = weights @ np.linalg.inv(m)
    log_scale = np.float32(0.5 * np.log(np.diag(variance * np.linalg.inv(m))))
    offset = np.float32(pca.mean.reshape(params["decoder"]["offset"].shape))
    params["posterior"]["loc"] = {"kernel": np.float32(to_loc), "bias": np.float32(shift - pca.mean @ to_loc)}
    params["posterior"]["log_scale"] = {"kernel": np.zeros(to_loc.shape, np.float32), "bias": log_scale}
    params["decoder"] |= {"out": {"kernel": np.float32(weights.T)}, "offset": offset}
    params["shared"]["raw_scale"] = np.float32(np.log(np.expm1(np.sqrt(variance) - 0.01)))
    return model, params, stats


def test_linear_autoencoder_reaches_the_error_of_pca(images, batch, pca):
    config = linear_config("linear", hypers__learning_rate=1e-2)
    model, params, stats = fitted(config, images, batch, 4000)
    found = jax.jit(lambda: model.decode(params, stats, model.encode(params, stats, batch), batch["label"]))()
    ours, best = (np.square(pictures - images).mean() for pictures in (found, pca.reconstruct(images)))
    assert ours == pytest.approx(best, rel=1e-2)


def test_linear_vae_reaches_the_likelihood_of_probabilistic_pca(images, batch):
    config = linear_config("vae", model__latent=2, hypers__learning_rate=5e-2)
    model, params, stats = fitted(config, images, batch, 2500)
    bound = jax.jit(lambda: model.log_weights(params, stats, batch, jax.random.key(5), 200).mean())
    pca = fit_pca(images, 2)
    exact = -pca.neg_log_likelihood(images).mean()
    assert exact - 0.05 < float(bound()) < exact + 0.01
    scale = 0.01 + np.logaddexp(0, params["shared"]["raw_scale"])
    assert scale == pytest.approx(pca.noise_variance**0.5, rel=1e-2)


def test_every_importance_weight_is_the_exact_likelihood_when_the_posterior_is(images, batch, pca):
    model, params, stats = ppca_model(images, pca)
    weights = jax.jit(lambda: model.log_weights(params, stats, batch, jax.random.key(0), 3))()
    exact = -pca.neg_log_likelihood(images)
    np.testing.assert_allclose(weights, np.broadcast_to(exact, weights.shape), atol=2e-3)


def test_bounds_rise_with_the_samples_towards_the_exact_likelihood(images, batch, pca):
    model, params, stats = ppca_model(images, pca, shift=0.3)
    hypers = {"beta": np.float32(1), "kl_warmup_steps": np.float32(0)}

    @jax.jit
    def bounds():
        estimate = functools.partial(neg_log_likelihood, model, params, stats, batch, jax.random.key(1), chunk=64)
        values = model.evaluate(params, stats, batch, jax.random.key(2), hypers)
        return values["neg_elbo_nats"].mean(), {k: estimate(num_samples=k).mean() for k in (1, 8, 300)}

    elbo, nll = jax.tree.map(float, bounds())
    exact = float(pca.neg_log_likelihood(images).mean())
    assert elbo > nll[8] + 1 > nll[300] + 1 > exact + 1
    assert nll[1] == pytest.approx(elbo, abs=0.5)
    assert nll[300] == pytest.approx(exact, abs=0.5)
