"""The adversarial autoencoder: each player descends its own loss, and the codes come to follow N(0, I)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.common import assert_same, batch_of, own_gradients, reached
from tests.variants import load
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError
from vae_jax.parts import put_together
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec, TrainState

SHAPE, SIZE, KEY = (5, 4, 1), 6, jax.random.key(3)
SMALL = {"model__encoder__hidden": (8,), "model__discriminator__hidden": (7,), "model__latent": 3}


@functools.cache
def built(**overrides):
    config = load("zoo_adversarial.py:variant=aae", **SMALL | {"hypers__adversary_weight": 0.7} | overrides)
    model = make_model(config, Spec(SHAPE, 0, np.full(SHAPE, 0.4, np.float32)))
    return model, make_hypers(config.hypers, 5), *jax.jit(model.init)(jax.random.key(0))


IMAGES = np.float32(np.random.default_rng(0).uniform(size=(SIZE, *SHAPE)))
BATCH = batch_of(IMAGES, first=20)


def logit(discriminator, z):
    """log D/(1 - D), from its parameters."""
    first, out = discriminator["encoder"]["dense"]["layers"]["dense_0"], discriminator["out"]
    return (jnp.tanh(z @ first["kernel"] + first["bias"]) @ out["kernel"] + out["bias"])[:, 0]


def test_each_player_descends_the_gradient_of_its_own_loss():
    model, hypers, params, stats = built(model__discriminator__activation="tanh")

    def of_autoencoder(autoencoder):
        given = params | {"autoencoder": autoencoder}
        z = model.encode(given, stats, BATCH)
        error = jnp.square(model.decode(given, stats, z, BATCH["label"]) - BATCH["image"]).mean()
        return error - 0.7 * jnp.log(jax.nn.sigmoid(logit(params["discriminator"], z))).mean()

    def of_discriminator(discriminator):
        prior = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(KEY, i), (1, 3))[0])(BATCH["index"])
        real, made = (jax.nn.sigmoid(logit(discriminator, z)) for z in (prior, model.encode(params, stats, BATCH)))
        return -(jnp.log(real) + jnp.log(1 - made)).mean()

    got, (_, metrics) = jax.jit(jax.grad(model.loss, has_aux=True))(params, stats, BATCH, KEY, hypers, 0)
    own = own_gradients({"autoencoder": of_autoencoder, "discriminator": of_discriminator}, params)
    for player, (_, expected) in own.items():
        assert_same(got[player], expected)
    total = sum(float(value) for value, _ in own.values())
    assert float(metrics["loss"]) == pytest.approx(total, rel=1e-5)


def test_what_a_player_does_not_minimise_has_no_gradient_in_it():
    model, hypers, params, stats = built()

    def metrics(params):
        found = model.loss(params, stats, BATCH, KEY, hypers, 0)[1][1]
        return {name: found[name] for name in ("distance", "adversary", "discriminator_loss")}

    assert reached(metrics, params, depth=2) == {
        "distance": {"autoencoder/encoder", "autoencoder/code", "autoencoder/decoder"},
        "adversary": {"autoencoder/encoder", "autoencoder/code"},
        "discriminator_loss": {"discriminator/encoder", "discriminator/out"},
    }
    assert set(jax.tree.leaves(model.groups(params))) == {"autoencoder", "discriminator"}


def distance_from_prior(weight):
    """Return how far the codes of the digits are from N(0, I) after a short run, in means and in covariances."""
    fields = {"data__name": "digits", "model__latent": 2, "train__epochs": 80}
    fields |= {"model__encoder__hidden": (64,), "model__discriminator__hidden": (64,)}
    fields |= {"hypers__adversary_weight": weight, "hypers__learning_rate": 3e-3}
    config = load("zoo_adversarial.py:variant=aae", **fields)
    parts = put_together(config, load_dataset(config, None))
    state, _ = parts.program.chunk(TrainState(**parts.start()["state"]), 0, 900)
    feed = parts.feeds["train"]
    batch = feed.batch(feed.arrays, feed.row(np.arange(feed.size)), 0)
    code = np.asarray(jax.jit(parts.model.encode)(state.params, state.stats, batch))
    return np.abs(code.mean(0)).max(), np.abs(np.cov(code.T) - np.eye(2)).max()


def test_codes_come_to_have_the_moments_of_the_prior():
    mean, covariance = distance_from_prior(0.05)
    assert mean < 0.5
    assert covariance < 0.5 * distance_from_prior(0.0)[1]


def test_samples_are_decoded_draws_of_the_prior():
    model, _, params, stats = built()
    label = np.zeros(4, int)

    @jax.jit
    def sampled_and_decoded(params):
        z = 0.5 * jax.random.normal(KEY, (4, 3))
        return model.sample(params, stats, KEY, label, 0.5), model.decode(params, stats, z, label)

    np.testing.assert_allclose(*sampled_and_decoded(params))
    assert model.log_weights is None
    with pytest.raises(ConfigError, match=r"distance\.name='chroma' leaves the brightness of samples open"):
        built(model__distance__name="chroma")
