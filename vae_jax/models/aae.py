"""The adversarial autoencoder: codes that a discriminator cannot tell from N(0, I) (Makhzani et al. 2016).

The encoder is deterministic (section 2: q(z|x) a delta), and with it z ~ q(z) is the code of an example. With l the
distance between x and x*, the autoencoder minimises l - adversary_weight log D(z), of which the second term reaches
the encoder alone, and the discriminator -log D(p) - log(1 - D(z)), p ~ N(0, I): 2 log 2 where it can tell nothing.

Departures from the paper: one step does both of its phases, from the same parameters; adversary_weight stands for
their learning rates. There is no likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.nn.bind import bind
from vae_jax.nn.deterministic import Deterministic
from vae_jax.nn.discriminator import Discriminator, neg_log_made, neg_log_real, players
from vae_jax.nn.latent_variable import example_keys
from vae_jax.prob.distances import Distance
from vae_jax.prob.distributions import normal_noise
from vae_jax.support import check_samples
from vae_jax.types import Model, Spec


class _Networks(nnx.Module):
    """Both players."""

    def __init__(self, autoencoder: Deterministic, discriminator: Discriminator):
        self.autoencoder, self.discriminator = autoencoder, discriminator


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    distance: Mapping[str, Any],
    discriminator: Mapping[str, Any],
) -> Model:
    """Build an adversarial autoencoder; the hyperparameter adversary_weight is traced.

    Args:
        spec: shape and mean of the data.
        latent: D, the size of the code.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        distance: a component of `prob.distances`; mse in the paper.
        discriminator: a component of `nn.encoders`, shown codes as pictures of one pixel with D channels.

    Raises:
        ConfigError: the distance leaves the samples open.
    """
    measure: Distance = build("prob.distances", distance)()
    check_samples(distance["name"], measure.colour_only)
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)
    judge_with = build("nn.encoders", discriminator)

    def networks(rngs: nnx.Rngs) -> _Networks:
        autoencoder = Deterministic(spec, latent, measure, encode_with, decode_with, rngs)
        return _Networks(autoencoder, Discriminator(judge_with, (1, 1, latent), rngs))

    network = bind(networks)

    def measured(params, stats, batch, key, hypers):
        """Return all terms, each [B]; each player sees the other as a constant."""
        net, held = (network.merge(p, stats) for p in (params, jax.lax.stop_gradient(params)))
        z = net.autoencoder.encode(batch["input"])
        errors = net.autoencoder.errors(batch["image"], net.autoencoder.output(z))
        adversary = neg_log_real(held.discriminator(z))
        prior = normal_noise(example_keys(key, batch), 1, latent)[0]
        made = net.discriminator(jax.lax.stop_gradient(z))
        told = neg_log_real(net.discriminator(prior)) + neg_log_made(made)
        return {
            "loss": errors["distance"] + hypers["adversary_weight"] * adversary + told,
            **errors,
            "adversary": adversary,
            "discriminator_loss": told,
        }

    def loss(params, stats, batch, key, hypers, step):
        del step
        metrics = jax.tree.map(jnp.mean, measured(params, stats, batch, key, hypers))
        return metrics["loss"], (stats, metrics)

    def encode(params, stats, batch):
        return network.merge(params, stats).autoencoder.encode(batch["input"])

    def decode(params, stats, z, label):
        del label
        return network.merge(params, stats).autoencoder.decode(z)

    def sample(params, stats, key, label, temperature):
        return decode(params, stats, temperature * jax.random.normal(key, (len(label), latent)), label)

    return Model(network.init, loss, measured, None, encode, decode, sample, groups=players)
