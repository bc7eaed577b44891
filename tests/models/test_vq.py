"""A discrete code: its rate is how often the prior draws it, the prior leaves the encoder alone, codebooks follow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.common import batch_of
from tests.variants import load
from vae_jax.errors import ConfigError
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec

SHAPE, SIZE = (6, 5, 1), 12
SMALL = {"model__encoder__hidden": (8,), "model__prior_width": 6, "model__positions": 2, "model__latent": 4}


IMAGES = np.float32(np.random.default_rng(0).integers(0, 2, (SIZE, *SHAPE)))
BATCH = batch_of(IMAGES, classes=10)


def made(variant, values="binary", **overrides):
    config = load(f"zoo_discrete.py:variant={variant}", **SMALL | overrides)
    return make_model(config, Spec(SHAPE, 10, np.full(SHAPE, 0.4, np.float32), values)), make_hypers(config.hypers, 5)


@functools.cache
def built(variant, **overrides):
    model, hypers = made(variant, **overrides)
    return model, hypers, *model.init(jax.random.key(0))  # most operations of it are those of another variant


def step(variant, **overrides):
    """Return the first step's statistics and metrics."""
    model, hypers, params, stats = built(variant, **overrides)
    return jax.jit(lambda: model.loss(params, stats, BATCH, jax.random.key(1), hypers, 0)[1])()


def reconstruct(model, params, stats):
    return model.decode(params, stats, model.encode(params, stats, BATCH), BATCH["label"])


@pytest.mark.parametrize("variant, fields", [("vq_ema", {"codes": 3}), ("residual_vq", {"codes": 2, "depth": 2})])
def test_rate_is_how_often_the_prior_draws_the_code(variant, fields):
    fields = {f"model__quantizer__{name}": value for name, value in fields.items()}
    model, hypers, params, _ = built(variant, **fields)
    stats, count = step(variant, **fields)[0], 20_000
    bias = np.float32(np.random.default_rng(1).normal(size=params["prior"]["bias"].shape))
    params = _merged(params, {"prior": {"bias": bias}})

    @jax.jit
    def rates_pictures_and_samples(params):
        values = model.evaluate(params, stats, BATCH, jax.random.key(0), hypers)
        drawn = model.sample(params, stats, jax.random.key(2), jnp.zeros(count, int), 1.0)
        return values["rate_nats"], reconstruct(model, params, stats), drawn.reshape(count, -1)

    rates, own, drawn = map(np.asarray, rates_pictures_and_samples(params))
    frequency = [(np.abs(drawn - picture.reshape(-1)).max(1) < 1e-6).mean() for picture in own]
    expected = np.exp(-rates)
    assert len(np.unique(expected.round(6))) > 1
    np.testing.assert_allclose(frequency, expected, atol=5 * 0.5 / count**0.5)


@pytest.mark.parametrize("variant", ["vq", "fsq"])
def test_bound_is_the_distortion_of_the_decoded_code_and_the_rate(variant):
    model, hypers, params, stats = built(variant)

    @jax.jit
    def told(params):
        weights = model.log_weights(params, stats, BATCH, jax.random.key(0), 2)
        values = model.evaluate(params, stats, BATCH, jax.random.key(0), hypers)
        return values, weights, reconstruct(model, params, stats)

    values, weights, p = jax.tree.map(np.asarray, told(params))
    distortion = -(IMAGES * np.log(p, dtype=float) + (1 - IMAGES) * np.log1p(-p, dtype=float)).sum((1, 2, 3))
    np.testing.assert_allclose(values["distortion_nats"], distortion, rtol=1e-5)
    np.testing.assert_allclose(values["neg_elbo_nats"], distortion + values["rate_nats"], rtol=1e-5)
    np.testing.assert_allclose(weights, np.stack([-values["neg_elbo_nats"]] * 2), rtol=1e-6)
    added = values["loss"] - values["neg_elbo_nats"]
    factor = {"vq": 1.25, "fsq": 0}[variant]  # |sg(e) - c|^2 + 0.25 |e - sg(c)|^2: the same square twice
    np.testing.assert_allclose(added, factor * values["commitment"], atol=1e-4)


def test_prior_and_autoencoder_do_not_reach_into_each_other():
    model, hypers, params, stats = built("vq")
    prior = jax.tree.map(lambda leaf: leaf + 0.3, params["prior"])
    decoder = jax.tree.map(lambda leaf: leaf + 0.3, params["decoder"])
    gradient = jax.jit(jax.grad(lambda params: model.loss(params, stats, BATCH, jax.random.key(1), hypers, 0)[0]))
    before, other_prior, other_decoder = map(
        gradient, (params, params | {"prior": prior}, params | {"decoder": decoder})
    )
    for name in params:
        same = (other_decoder if name == "prior" else other_prior)[name]
        for a, b in zip(jax.tree.leaves(before[name]), jax.tree.leaves(same), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_training_moves_codebooks_and_tells_how_they_are_used():
    model, _, params, stats = built("vq_ema")
    new, metrics = step("vq_ema")
    encode = jax.jit(model.encode)
    before, after = (  # the code of each picture as entries of two numbers, of all pictures together
        np.unique(np.reshape(encode(params, given, BATCH), (-1, 2)), axis=0, return_counts=True)[1]
        for given in (stats, new)
    )
    share = before / before.sum()
    codes = len(stats["quantizer"]["books"]["book_0"]["share"])
    assert float(metrics["batch_perplexity"]) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)
    assert float(metrics["batch_dead"]) == pytest.approx(1 - len(before) / codes, rel=1e-5)
    assert len(after) == 2 * SIZE > len(before)  # all codes have been redrawn, of which each entry has its own


def test_label_reaches_the_prior():
    model, _, params, stats = built("vq", model__condition=True)
    kernel = params["decoder"]["dense"]["layers"]["dense_0"]["kernel"]
    blind = {"dense": {"layers": {"dense_0": {"kernel": kernel.at[-10:].set(0)}}}}  # a decoder that does not see it
    params = _merged(params, {"decoder": blind, "prior": {"out": 30 * params["prior"]["out"]}})
    sample = jax.jit(lambda key, label: model.sample(params, stats, key, label, 0.0))
    pictures = np.asarray(sample(jax.random.key(0), jnp.arange(10))).reshape(10, -1)
    assert len(np.unique(pictures.round(5), axis=0)) > 1
    np.testing.assert_array_equal(pictures, np.asarray(sample(jax.random.key(1), jnp.arange(10))).reshape(10, -1))


def _merged(tree, changes):
    return tree | {k: _merged(tree[k], v) if isinstance(v, dict) else v for k, v in changes.items()}


def test_features_of_places_are_mapped_alike_and_those_of_dense_layers_all_together():
    places = {"model__positions": 4, "model__latent": 12, "model__encoder__hidden": ()}
    dense = {"model__encoder__hidden": (16,), "model__decoder__hidden": ()}
    for fields, expected in (places, (64, 3)), (places | dense, (16, 12)):
        params, _ = jax.eval_shape(made("conv", **fields)[0].init, jax.random.key(0))
        assert params["code"]["kernel"].shape == expected


@pytest.mark.parametrize(
    "variant, values, fields, message",
    [
        ("vq", "binary", {"model__latent": 5}, "latent=5 is not model.positions=2 entries of 2"),
        ("vq", "binary", {"model__latent": 1}, "latent=1 is not model.positions=2 entries of 1"),
        ("fsq", "binary", {"model__latent": 6}, "latent=6 is not model.positions=2 entries of 2"),
        ("vq", "unit", {}, "takes pixels of 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(variant, values, fields, message):
    with pytest.raises(ConfigError, match=message):
        made(variant, values, **fields)
