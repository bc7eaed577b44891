"""FactorVAE: the ELBO less the total correlation of all codes, as a discriminator tells it (Kim and Mnih 2018).

TC = KL(q(z) || prod_j q(z_j)), q(z) the mean of q(z|x) over the data. The discriminator learns to tell codes, 'real',
from codes each of whose dimensions has been permuted over the batch by itself, which follow prod_j q(z_j) up to the
size of the batch. The VAE minimises (equation 2 and algorithm 2; gamma there is `tc_weight`)

    -ELBO + tc_weight E_q(z)[log D(z)/(1 - D(z))],

and the discriminator -1/2 E[log D(z)] - 1/2 E[log(1 - D(permuted z))]: log 2 where it can tell nothing.

Departures from the paper: the permuted codes are a second draw of q(z|x) for the whole batch, where the paper takes
those of a second batch: a sum over the two sets has the same expectation either way. Both players move at once, from
the same parameters, and at one learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.nn.bind import bind
from vae_jax.nn.discriminator import Discriminator, neg_log_made, neg_log_real, players
from vae_jax.nn.latent_variable import LatentVariable, example_keys, views
from vae_jax.support import latent_variable
from vae_jax.types import Model, Spec


class _Networks(nnx.Module):
    """Both players."""

    def __init__(self, vae: LatentVariable, discriminator: Discriminator):
        self.vae, self.discriminator = vae, discriminator


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    posterior: Mapping[str, Any],
    prior: Mapping[str, Any],
    likelihood: Mapping[str, Any],
    discriminator: Mapping[str, Any],
) -> Model:
    """Build a FactorVAE; the hyperparameter tc_weight is traced.

    Args:
        spec: shape, mean, kind of values and number of the data.
        latent: D, the size of z.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        posterior: a component of `nn.posteriors`.
        prior: a component of `nn.priors`.
        likelihood: a component of `prob.likelihoods`.
        discriminator: a component of `nn.encoders`, shown codes as pictures of one pixel with D channels.

    Raises:
        ConfigError: two components, or a component and the data, do not go together.
    """
    parts = {"encoder": encoder, "decoder": decoder, "posterior": posterior, "prior": prior, "likelihood": likelihood}
    make_vae, judge_with = latent_variable(spec, latent, **parts), build("nn.encoders", discriminator)
    network = bind(lambda rngs: _Networks(make_vae(rngs), Discriminator(judge_with, (1, 1, latent), rngs)))

    def measured(net, held, batch, key, hypers):
        """Return the draws and the terms of the loss of the VAE, each [B]; the discriminator is a constant to it."""
        draws = net.vae.draws(batch, key, 1)
        tc = held.discriminator(draws.z[0])
        return draws, {"loss": draws.terms["neg_elbo_nats"] + hypers["tc_weight"] * tc, **draws.terms, "tc_nats": tc}

    def loss(params, stats, batch, key, hypers, step):
        del step
        net, held = (network.merge(p, stats) for p in (params, jax.lax.stop_gradient(params)))
        draws, terms = measured(net, held, batch, key, hypers)
        again, shuffle = jax.random.split(draws.key)
        second = draws.q.draw(example_keys(again, batch), 1)[0][0]
        real, made = jax.lax.stop_gradient((draws.z[0], _permuted(shuffle, second)))
        told = 0.5 * (neg_log_real(net.discriminator(real)) + neg_log_made(net.discriminator(made))).mean()
        metrics = jax.tree.map(jnp.mean, terms)
        total = metrics["loss"] + told
        return total, (network.stats(net), metrics | {"loss": total, "penalty_discriminator": told})

    def evaluate(params, stats, batch, key, hypers):
        net = network.merge(params, stats)
        _, terms = measured(net, net, batch, key, hypers)
        return {**terms, "mse": net.vae.error(batch)}

    return Model(network.init, loss, evaluate, **views(network, lambda net: net.vae), groups=players)


def _permuted(key: jax.Array, z: jax.Array) -> jax.Array:
    """Return codes [B,D] with each column in an order of its own (algorithm 1)."""
    return jax.random.permutation(key, z, axis=0, independent=True)
