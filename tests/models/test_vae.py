"""A VAE whose prior looks through the encoder: which loss each part of it descends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_conformance import KEY, batch_of, built
from tests.variants import load
from vae_jax.models import vae
from vae_jax.nn.bind import bind
from vae_jax.objectives import importance
from vae_jax.support import latent_variable
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec

SPEC = Spec((4, 4, 1), 0, np.full((4, 4, 1), 0.4, np.float32), "binary", 100)
SMALL = {"encoder__hidden": (8,), "decoder__hidden": (8,), "prior__components": 3, "latent": 2}


@pytest.mark.parametrize("name", ["dreg", "piwae"])
def test_the_encoder_of_a_learned_prior_descends_what_the_prior_does(name):
    config = load("zoo_latents.py:variant=vamp", **{f"model__{field}": value for field, value in SMALL.items()})
    fields = {part: config.model[part] for part in ("encoder", "decoder", "posterior", "prior", "likelihood")}
    objective = {"name": name} | ({"num_groups": 4} if name == "piwae" else {})
    model = vae.make(SPEC, latent=2, **fields, objective=objective, num_samples=8)
    network, hypers = bind(latent_variable(SPEC, 2, **fields)), make_hypers(config.hypers, 5)
    params, stats = model.init(jax.random.key(0))
    image = jnp.asarray(np.random.default_rng(0).integers(0, 2, (5, 4, 4, 1)), jnp.float32)
    batch = {"image": image, "input": image, "label": jnp.zeros(5, jnp.int32), "index": jnp.arange(5)}
    key, held = jax.random.key(1), jax.lax.stop_gradient

    def by_hand(encoder):
        live = {**held(params), "encoder": encoder}
        net, still = network.merge(live, stats), network.merge(held(live), stats)
        through_prior = importance.iwae(still.draws(batch, key, 8, prior=net.p()), hypers, 0)
        options = {"num_groups": 4} if name == "piwae" else {}
        through_q = getattr(importance, name)(net.draws(batch, key, 8, prior=still.p()), hypers, 0, **options)
        return through_prior.per_example.mean() + through_q.inference.mean()

    ours = jax.jit(jax.grad(lambda p: model.loss(p, stats, batch, key, hypers, 0)[0]))(params)["encoder"]
    expected = jax.jit(jax.grad(by_hand))(params["encoder"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), ours, expected)


@pytest.mark.parametrize("variant", ["iaf", "vamp"])
def test_a_sampled_kl_divergence_is_that_of_the_importance_weight_of_the_same_draw(variant):
    _, model, hypers, params, stats = built(f"zoo_latents.py:variant={variant}")
    values = jax.jit(model.evaluate)(params, stats, batch_of(range(7)), KEY, hypers)
    weights = jax.jit(lambda: model.log_weights(params, stats, batch_of(range(7)), KEY, 1))()
    np.testing.assert_allclose(-values["neg_elbo_nats"], weights[0], rtol=1e-5)
