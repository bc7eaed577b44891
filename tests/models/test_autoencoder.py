"""What an autoencoder's options make of it: the optimum of a linear RAE, normalised decoders, a prior to sample."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from tests.models.common import batch_of
from vae_jax.models.autoencoder import make
from vae_jax.types import Spec

SHAPE = (3, 2, 1)
MLP = {"name": "mlp", "hidden": ()}


def model_of(**options):
    spec = Spec(SHAPE, 0, np.zeros(SHAPE, np.float32))
    return make(spec, latent=4, encoder=MLP, decoder=MLP, distance={"name": "mse"}, **options)


def test_a_linear_rae_l2_thresholds_the_singular_values():
    """Its optimum is U diag(g) U', g = max(0, 1 - P sqrt(beta lambda / 2 s)), s the variances along U, P the pixels.

    As in the regularised linear autoencoders of Kunin et al. (2019): of all A, B with a B A = g along an axis, the
    penalties beta s a^2 / 2 + lambda b^2 are least, g sqrt(2 beta lambda s), where both are equal. What is left is
    s (1 - g)^2 / P + g sqrt(2 beta lambda s).
    """
    rng, code_weight, decoder_weight = np.random.default_rng(0), 0.02, 0.03
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    scores = rng.normal(size=(40, 6))
    scores = np.linalg.qr(scores - scores.mean(0))[0] * 40**0.5
    variances = np.array([4.0, 2.0, 1.0, 0.005, 0.004, 0.003])
    x = (scores * np.sqrt(variances) @ axes.T).reshape(-1, *SHAPE)
    probes = batch_of(np.concatenate([np.zeros((1, 6)), np.eye(6)]).reshape(-1, *SHAPE))

    model = model_of(regularizer={"name": "rae_l2"})
    hypers = {"code_weight": code_weight, "decoder_weight": decoder_weight}
    params, stats = model.init(jax.random.key(0))
    with jax.enable_x64(True):
        start, unravel = jax.flatten_util.ravel_pytree(jax.tree.map(lambda p: p.astype(float), params))

        @jax.jit
        @jax.value_and_grad
        def objective(flat):
            return model.loss(unravel(flat), stats, batch_of(x), jax.random.key(1), hypers, 0)[0]

        best = scipy.optimize.minimize(objective, start, jac=True, options={"gtol": 1e-7})
        params = unravel(jnp.asarray(best.x))
        pictures = model.decode(params, stats, model.encode(params, stats, probes), None).reshape(7, 6)
    kept = np.maximum(0, 1 - 6 * np.sqrt(code_weight * decoder_weight / (2 * variances)))
    assert 0 < kept.min() + kept[2] < 1 and kept[3:].max() == 0
    np.testing.assert_allclose(pictures[1:] - pictures[0], axes * kept @ axes.T, atol=1e-4)


def test_with_spectral_norm_no_two_pictures_are_further_apart_than_their_codes():
    model = model_of(regularizer={"name": "rae"}, spectral_norm=True)
    params, stats = jax.jit(model.init)(jax.random.key(0))
    params = jax.tree.map(lambda p: 30 * p**2, params)  # and so the leading vectors of the start are of no use
    batch = batch_of(np.float32(np.random.default_rng(0).normal(size=(5, *SHAPE))))
    step = jax.jit(lambda stats: model.loss(params, stats, batch, jax.random.key(2), {"code_weight": 0.1}, 0)[1][0])
    for _ in range(50):
        stats = step(stats)
    jacobian = jax.jit(jax.jacobian(lambda z: model.decode(params, stats, z[None], None).ravel()))(np.ones(4))
    assert np.linalg.svd(jacobian, compute_uv=False)[0] == pytest.approx(1, rel=1e-3)


def test_it_samples_where_codes_are_drawn_towards_a_prior():
    assert model_of().sample is None
    assert model_of(regularizer={"name": "rae"}).sample is None
    assert model_of(regularizer={"name": "wae_mmd", "kernel": "rbf"}).sample is not None
