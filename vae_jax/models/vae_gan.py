"""VAE-GAN: a VAE whose reconstructions are compared in the features of a discriminator (Larsen et al. 2016).

With f(v) the features before the discriminator's last layer, z ~ q(z|x), x* the picture of z and y that of a draw of
the prior N(0, I), the feature error is |f(x) - f(x*)|^2 / 2: -log p(f(x)|z) but for a constant, with the p of equation
7. By algorithm 1 the three networks minimise

    encoder         beta KL(q(z|x) || p(z)) + feature error,
    decoder         feature error - adversary_weight (log D(x*) + log D(y)),
    discriminator   -log D(x) - log(1 - D(x*)) - log(1 - D(y)): 3 log 2 where it can tell nothing,

each with the others as constants: the encoder has no part in the game, nor the discriminator in the feature error, or
it would make all features alike (section 3.1). Nothing here is a likelihood of pixels.

Departures from the paper: adversary_weight = 1/gamma multiplies the game where gamma there multiplies the feature
error of the decoder, the same ratio; the decoder raises log D, where theirs lowers log(1 - D); no batch norm; all three
move at once.
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
from vae_jax.nn.latent_variable import example_keys
from vae_jax.nn.posteriors import diagonal
from vae_jax.prob.distributions import Normal, clipped_logit, normal_noise, standard_normal
from vae_jax.types import Model, Spec


class _Encoder(nnx.Module):
    def __init__(self, layers: nnx.Module, posterior: nnx.Module):
        self.layers, self.posterior = layers, posterior

    def __call__(self, x: jax.Array) -> Normal:
        return self.posterior(self.layers(x, jnp.zeros((len(x), 0))))


class _Networks(nnx.Module):
    """The three players."""

    def __init__(self, encoder: _Encoder, decoder: nnx.Module, discriminator: Discriminator):
        self.encoder, self.decoder, self.discriminator = encoder, decoder, discriminator

    def picture(self, z: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(self.decoder(z)[..., 0])


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    discriminator: Mapping[str, Any],
) -> Model:
    """Build a VAE-GAN of pictures in [0, 1]; the hyperparameters beta, of the KL, and adversary_weight are traced.

    Args:
        spec: shape and mean of the data.
        latent: D, the size of z.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        discriminator: a component of `nn.encoders`; pictures are compared in what it returns.
    """
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)
    judge_with = build("nn.encoders", discriminator)

    def networks(rngs: nnx.Rngs) -> _Networks:
        layers = encode_with(spec.shape, 0, rngs)
        encoder = _Encoder(layers, diagonal(layers.num_features, latent, rngs))
        decoder = decode_with(latent, clipped_logit(spec.mean)[..., None], rngs)
        return _Networks(encoder, decoder, Discriminator(judge_with, spec.shape, rngs))

    network = bind(networks)

    def measured(params, stats, batch, key, hypers):
        """Return all terms, each [B]."""
        net, held = (network.merge(p, stats) for p in (params, jax.lax.stop_gradient(params)))
        x, q = batch["image"], net.encoder(batch["input"])
        noise, other = normal_noise(example_keys(key, batch), 2, latent)
        z, rate = q.at(noise), q.kl_to(standard_normal(latent))
        again, drawn = net.picture(z), net.picture(other)
        feature_error = 0.5 * jnp.square(held.discriminator.features(x) - held.discriminator.features(again)).sum(-1)
        # The same picture once more, from a z that is a constant: what the game says of it does not reach the encoder.
        made = net.picture(jax.lax.stop_gradient(z)), drawn
        adversary = sum(neg_log_real(held.discriminator(y)) for y in made)
        told = sum(neg_log_made(net.discriminator(jax.lax.stop_gradient(y))) for y in made)
        told += neg_log_real(net.discriminator(x))
        return {
            "loss": hypers["beta"] * rate + feature_error + hypers["adversary_weight"] * adversary + told,
            "rate_nats": rate,
            "feature_error": feature_error,
            "adversary": adversary,
            "discriminator_loss": told,
            "mse": jnp.square(again - x).mean((1, 2, 3)),
        }

    def loss(params, stats, batch, key, hypers, step):
        del step
        metrics = jax.tree.map(jnp.mean, measured(params, stats, batch, key, hypers))
        return metrics["loss"], (stats, metrics)

    def encode(params, stats, batch):
        return network.merge(params, stats).encoder(batch["input"]).mean

    def draw(params, stats, batch, key):
        return network.merge(params, stats).encoder(batch["input"]).draw(example_keys(key, batch), 1)[0][0]

    def decode(params, stats, z, label):
        del label
        return network.merge(params, stats).picture(z)

    def sample(params, stats, key, label, temperature):
        return decode(params, stats, temperature * jax.random.normal(key, (len(label), latent)), label)

    return Model(network.init, loss, measured, None, encode, decode, sample, draw=draw, groups=players)
