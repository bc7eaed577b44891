"""VAE-GAN: what each of the three networks descends, against the losses of the paper written out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.models.common import assert_same, batch_of, own_gradients, reached
from tests.variants import load
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec

SHAPE, SIZE, LATENT, KEY = (5, 4, 1), 6, 3, jax.random.key(3)
HYPERS = {"beta": 0.6, "adversary_weight": 0.7}


@functools.cache
def built():
    fields = {"model__encoder__hidden": (8,), "model__discriminator__hidden": (7,), "model__latent": LATENT}
    fields |= {"model__discriminator__activation": "tanh"}
    fields |= {f"hypers__{name}": value for name, value in HYPERS.items()}
    config = load("zoo_adversarial.py:variant=vae_gan", **fields)
    model = make_model(config, Spec(SHAPE, 0, np.full(SHAPE, 0.4, np.float32)))
    return model, make_hypers(config.hypers, 5), *jax.jit(model.init)(jax.random.key(0))


IMAGES = np.float32(np.random.default_rng(0).uniform(size=(SIZE, *SHAPE)))
BATCH = batch_of(IMAGES, first=20)


def noise(draws):
    """Return [draws, SIZE, LATENT]: with 2, that of the posterior and that of the prior."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, BATCH["index"])
    return jax.vmap(lambda key: jax.random.normal(key, (draws, LATENT)), out_axes=1)(keys)


def posterior(params):
    """Return mean and standard deviation of q(z|x)."""
    encoder = params["encoder"]
    hidden = encoder["layers"]["dense"]["layers"]["dense_0"]
    features = jnp.tanh(BATCH["input"].reshape(SIZE, -1) @ hidden["kernel"] + hidden["bias"])
    loc, log_scale = (
        features @ encoder["posterior"][name]["kernel"] + encoder["posterior"][name]["bias"]
        for name in ("loc", "log_scale")
    )
    return loc, jnp.exp(log_scale)


def features(discriminator, x):
    hidden = discriminator["encoder"]["dense"]["layers"]["dense_0"]
    return jnp.tanh(x.reshape(SIZE, -1) @ hidden["kernel"] + hidden["bias"])


def probability(discriminator, x):
    """D, the probability that x is real."""
    out = discriminator["out"]
    return jax.nn.sigmoid(features(discriminator, x) @ out["kernel"] + out["bias"])[:, 0]


def test_each_network_descends_the_gradient_of_its_loss_in_the_paper():
    model, hypers, params, stats = built()
    (of_posterior, of_prior), x, label = jax.jit(noise, static_argnums=0)(2), IMAGES, BATCH["label"]
    judge = params["discriminator"]

    def reconstruct(params, code_params):
        loc, scale = posterior(code_params)
        return model.decode(params, stats, loc + scale * of_posterior, label)

    def feature_error(params):
        return 0.5 * jnp.square(features(judge, x) - features(judge, reconstruct(params, params))).sum(-1)

    def of_encoder(encoder):
        given = params | {"encoder": encoder}
        loc, scale = posterior(given)
        rate = 0.5 * (scale**2 + loc**2 - 1 - 2 * jnp.log(scale)).sum(-1)
        return (0.6 * rate + feature_error(given)).mean()

    def of_decoder(decoder):
        given = params | {"decoder": decoder}
        made = reconstruct(given, params), model.decode(given, stats, of_prior, label)
        game = -sum(jnp.log(probability(judge, y)) for y in made)
        return (feature_error(given) + 0.7 * game).mean()

    def of_discriminator(discriminator):
        made = reconstruct(params, params), model.decode(params, stats, of_prior, label)
        fooled = sum(jnp.log(1 - probability(discriminator, y)) for y in made)
        return -(jnp.log(probability(discriminator, x)) + fooled).mean()

    got = jax.jit(jax.grad(model.loss, has_aux=True))(params, stats, BATCH, KEY, hypers, 0)[0]
    losses = {"encoder": of_encoder, "decoder": of_decoder, "discriminator": of_discriminator}
    assert got.keys() == losses.keys()
    for network, (_, expected) in own_gradients(losses, params).items():
        assert_same(got[network], expected)


def test_each_term_reaches_the_networks_that_the_paper_lets_it_reach():
    model, hypers, params, stats = built()

    def metrics(params):
        found = model.loss(params, stats, BATCH, KEY, hypers, 0)[1][1]
        return {name: found[name] for name in ("rate_nats", "feature_error", "adversary", "discriminator_loss", "mse")}

    assert reached(metrics, params) == {
        "rate_nats": {"encoder"},
        "feature_error": {"encoder", "decoder"},
        "adversary": {"decoder"},
        "discriminator_loss": {"discriminator"},
        "mse": {"encoder", "decoder"},
    }


def test_terms_add_up_and_a_blind_discriminator_is_at_3_log_2():
    model, hypers, params, stats = built()
    evaluate = jax.jit(model.evaluate)
    values = evaluate(params, stats, BATCH, KEY, hypers)
    total = values["feature_error"] + 0.6 * values["rate_nats"] + 0.7 * values["adversary"]
    np.testing.assert_allclose(values["loss"], total + values["discriminator_loss"], rtol=1e-5)
    blind = params | {"discriminator": jax.tree.map(np.zeros_like, params["discriminator"])}
    values = evaluate(blind, stats, BATCH, KEY, hypers)
    np.testing.assert_allclose(values["discriminator_loss"], 3 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(values["adversary"], 2 * np.log(2), rtol=1e-6)
    np.testing.assert_array_equal(values["feature_error"], 0)


def test_groups_are_the_three_networks_and_pixels_have_no_likelihood():
    model, _, params, stats = built()
    labels = model.groups(params)
    assert {network: set(jax.tree.leaves(labels[network])) for network in params} == {n: {n} for n in params}
    assert model.log_weights is None
    label = np.zeros(2, int)

    @jax.jit
    def found_and_expected(params):
        loc, scale = posterior(params)
        codes = model.encode(params, stats, BATCH), loc
        draws = model.draw(params, stats, BATCH, KEY), loc + scale * noise(1)[0]
        z = 0.5 * jax.random.normal(KEY, (2, LATENT))
        return codes, draws, (model.sample(params, stats, KEY, label, 0.5), model.decode(params, stats, z, label))

    codes, draws, samples = found_and_expected(params)
    np.testing.assert_allclose(*codes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*draws, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*samples, rtol=1e-6)
    assert np.min(samples[0]) > 0
    assert np.max(samples[0]) < 1
