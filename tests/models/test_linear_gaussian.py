"""Linear models have closed forms: PCA for the autoencoder, probabilistic PCA for the VAE. Real digits throughout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    return digits(None).splits["train"].images.astype(np.float32) / 16


@pytest.fixture(scope="module")
def batch(images):
    x, count = jnp.asarray(images), len(images)
    return {"image": x, "input": x, "label": jnp.zeros(count, jnp.int32), "index": jnp.arange(count)}


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


def linear_vae_config(**more):
    settings = {"model__latent": LATENT, "model__encoder__hidden": (), "schedule__warmup_epochs": 0.05}
    return load("digits.py:variant=vae", schedule__final_fraction=0.001, **settings | more)


def ppca_params(model, pca, shift=0.0):
    """Return the VAE's parameters at the optimum of Lucas et al. (2019), its posterior mean moved by `shift`."""
    params, stats = model.init(jax.random.key(0))
    variance = pca.noise_variance
    eigenvalues = pca.variances
    weights = pca.components.T * np.sqrt(eigenvalues - variance)  # [P,D]
    m = weights.T @ weights + variance * np.eye(LATENT)
    to_loc = weights @ np.linalg.inv(m)
    shape = params["decoder"]["offset"].shape
    params["posterior"]["loc"] = {"kernel": jnp.float32(to_loc), "bias": jnp.float32(shift - pca.mean @ to_loc)}
    params["posterior"]["log_scale"]["kernel"] *= 0
    params["posterior"]["log_scale"]["bias"] = jnp.float32(0.5 * np.log(np.diag(variance * np.linalg.inv(m))))
    params["decoder"]["out"]["kernel"] = jnp.float32(weights.T)
    params["decoder"]["offset"] = jnp.float32(pca.mean.reshape(shape))
    params["shared"]["raw_scale"] = jnp.float32(np.log(np.expm1(np.sqrt(variance) - 0.01)))
    return params, stats


def test_linear_autoencoder_reaches_the_error_of_pca(images, batch, pca):
    config = load(
        "digits.py:variant=linear",
        model__latent=LATENT,
        hypers__learning_rate=1e-2,
        schedule__warmup_epochs=0.05,
        schedule__final_fraction=0.001,
    )
    model, params, stats = fitted(config, images, batch, 3000)
    error = np.square(model.decode(params, stats, model.encode(params, stats, batch), batch["label"]) - images).mean()
    assert error == pytest.approx(np.square(pca.reconstruct(images) - images).mean(), rel=1e-2)


def test_linear_vae_reaches_the_likelihood_of_probabilistic_pca(images, batch):
    config = linear_vae_config(model__latent=2, hypers__learning_rate=5e-2)
    model, params, stats = fitted(config, images, batch, 2500)
    bound = jax.jit(lambda: model.log_weights(params, stats, batch, jax.random.key(5), 200).mean())
    pca = fit_pca(images, 2)
    exact = -pca.neg_log_likelihood(images).mean()
    assert exact - 0.05 < float(bound()) < exact + 0.01
    scale = 0.01 + float(jax.nn.softplus(params["shared"]["raw_scale"]))
    assert scale == pytest.approx(pca.noise_variance**0.5, rel=1e-2)


def test_every_importance_weight_is_the_exact_likelihood_when_the_posterior_is(images, batch, pca):
    model = make_model(linear_vae_config(), Spec(images.shape[1:], 0, images.mean(0)))
    params, stats = ppca_params(model, pca)
    weights = jax.jit(lambda: model.log_weights(params, stats, batch, jax.random.key(0), 3))()
    exact = -pca.neg_log_likelihood(images)
    np.testing.assert_allclose(weights, np.broadcast_to(exact, weights.shape), atol=2e-3)


def test_bounds_rise_with_the_samples_towards_the_exact_likelihood(images, batch, pca):
    model = make_model(linear_vae_config(), Spec(images.shape[1:], 0, images.mean(0)))
    params, stats = ppca_params(model, pca, shift=0.3)
    estimate = functools.partial(neg_log_likelihood, model, params, stats, batch, chunk=64)
    nll = {k: float(jax.jit(lambda k=k: estimate(jax.random.key(1), num_samples=k).mean())()) for k in (1, 8, 300)}
    hypers = {"beta": jnp.float32(1), "kl_warmup_steps": jnp.float32(0)}
    values = jax.jit(lambda: model.evaluate(params, stats, batch, jax.random.key(2), hypers))()
    exact = float(pca.neg_log_likelihood(images).mean())
    elbo = float(values["neg_elbo_nats"].mean())
    assert elbo > nll[8] + 1 > nll[300] + 1 > exact + 1
    assert nll[1] == pytest.approx(elbo, abs=0.5)
    assert nll[300] == pytest.approx(exact, abs=0.5)
