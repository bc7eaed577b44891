"""A flow is the density of what it draws: against a closed form, and as every model keeps its promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tests.models.common import batch_of
from vae_jax.errors import ConfigError
from vae_jax.trained import make_model
from vae_jax.types import Spec

SHAPE, SIZE = (1, 2, 2), 4


def make(latent=SIZE, shape=SHAPE, **fields):
    config = {"model": {"name": "flow", "latent": latent, **fields}}
    return make_model(config, Spec(shape, 0, np.zeros(shape, np.float32)))


@functools.cache
def built():
    model = make(depth=2, width=8)
    params, stats = jax.jit(model.init)(jax.random.key(0))
    return model, params, stats, batch_of(np.float32(np.random.default_rng(0).normal(size=(5, *SHAPE))))


def test_the_affine_map_alone_is_a_normal_distribution():
    model, params, stats, batch = built()
    params = jax.tree.map(lambda leaf: leaf, params)  # dictionaries of its own
    for layer in params["layers"].values():
        layer["out"]["kernel"] *= 0
    params |= {"loc": jnp.arange(4.0), "log_scale": jnp.array([-1, 0, 0.5, 1])}
    values = jax.jit(model.evaluate)(params, stats, batch, jax.random.key(2), {})["neg_elbo_nats"]
    expected = multivariate_normal(np.arange(4), np.diag(np.exp(2 * np.array([-1, 0, 0.5, 1]))))
    np.testing.assert_allclose(values, -expected.logpdf(batch["image"].reshape(5, 4)), rtol=1e-5)


def test_every_weight_and_the_loss_are_the_likelihood():
    model, params, stats, batch = built()
    nats = model.evaluate(params, stats, batch, jax.random.key(2), {})["neg_elbo_nats"]
    weights = model.log_weights(params, stats, batch, jax.random.key(3), 3)
    np.testing.assert_array_equal(weights, np.tile(-nats, (3, 1)))
    loss, (_, metrics) = model.loss(params, stats, batch, jax.random.key(2), {}, 0)
    assert float(loss) == float(metrics["loss"]) == pytest.approx(float(nats.mean()), rel=1e-6)


def test_decoding_undoes_encoding_and_samples_are_decoded_noise():
    model, params, stats, batch = built()
    code = model.encode(params, stats, batch)
    assert code.shape == (5, SIZE)
    np.testing.assert_allclose(model.decode(params, stats, code, batch["label"]), batch["image"], atol=1e-5)
    drawn = model.sample(params, stats, jax.random.key(4), batch["label"], 0.5)
    noise = model.encode(params, stats, {"input": drawn})
    np.testing.assert_allclose(noise, 0.5 * jax.random.normal(jax.random.key(4), (5, SIZE)), atol=1e-5)


def test_every_parameter_receives_a_gradient():
    model, params, stats, batch = built()
    gradient = jax.jit(jax.grad(model.loss, has_aux=True))(params, stats, batch, jax.random.key(2), {}, 0)[0]
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert 0 < np.abs(leaf).max() < np.inf, path


def test_a_code_of_another_size_is_refused():
    with pytest.raises(ConfigError, match=r"model\.latent=3: a flow's code is as large as a picture, here 4"):
        make(latent=3)
