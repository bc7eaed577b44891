"""BEGAN: a generator against a discriminator that is an autoencoder (Berthelot, Schumm and Metz 2017).

With L(v) the distance between a picture v and its reconstruction D(v), the discriminator lowers L(x) - k L(G(z)): it
learns to reconstruct the data and, as far as k asks for it, not to reconstruct what is generated. The generator lowers
L(G(z)). The weight k follows from how the two stand (section 3.4):

    k <- clip(k + k_rate (gamma L(x) - L(G(z))), 0, 1),

so that L(G(z)) / L(x) settles at gamma, the diversity ratio. M = L(x) + |gamma L(x) - L(G(z))|, logged as
'convergence', tells how far training has come (section 3.4.1); the losses of the players do not.

Departures from the paper: z ~ N(0, I) rather than uniform; both players see the same G(z); gamma may exceed 1, which
asks for samples that D reconstructs worse than the data: at 1 the dense network for MNIST collapsed (docs/began.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.nn.bind import bind
from vae_jax.nn.discriminator import players
from vae_jax.prob.distances import Distance
from vae_jax.support import check_samples, num_labels
from vae_jax.types import Batch, Model, Spec

_COLLAPSED = 0.2  # diversity
_MEMORY = 0.999  # of its moving average: collapse is what has lasted for some thousand steps


class Balance(nnx.Variable):
    """What the game carries from step to step besides the parameters."""


class _Decoder(nnx.Module):
    """From a code [N,D] and a label [N] to the raw output [N,H,W,C]."""

    def __init__(self, layers: nnx.Module, num_classes: int):
        self.layers, self.num_classes = layers, num_classes

    def __call__(self, z: jax.Array, label: jax.Array) -> jax.Array:
        return self.layers(jnp.concatenate([z, jax.nn.one_hot(label, self.num_classes)], -1))[..., 0]


class _Discriminator(nnx.Module):
    """The autoencoder, and how badly it reconstructs."""

    def __init__(self, encoder: nnx.Module, code: nnx.Module, decoder: _Decoder, measure: Distance):
        self.encoder, self.code, self.decoder, self.measure = encoder, code, decoder, measure

    def encode(self, x: jax.Array, label: jax.Array) -> jax.Array:
        return self.code(self.encoder(x, jax.nn.one_hot(label, self.decoder.num_classes)))

    def error(self, x: jax.Array, seen: jax.Array, label: jax.Array) -> jax.Array:
        return self.measure.between(x, self.decoder(self.encode(seen, label), label))


class _Networks(nnx.Module):
    """Both players, the weight k, and the moving average of the diversity."""

    def __init__(self, discriminator: _Discriminator, generator: _Decoder):
        self.discriminator, self.generator = discriminator, generator
        self.k, self.diversity = Balance(jnp.float32(0)), Balance(jnp.float32(1))

    @property
    def weight(self) -> jax.Array:
        return jnp.clip(self.k[...], 0, 1)


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    distance: Mapping[str, Any],
    condition: bool = False,
) -> Model:
    """Build a BEGAN; `encode` and `decode` are the discriminator's, `sample` is the generator's.

    The hyperparameters gamma and k_rate (lambda_k in the paper) are traced.

    Args:
        spec: shape, classes and mean of the data.
        latent: D, the size of the discriminator's code and of the generator's z.
        encoder: a component of `nn.encoders`, of the discriminator.
        decoder: a component of `nn.decoders`: the discriminator and the generator have one each.
        distance: a component of `prob.distances`, L; mae in the paper. It should be 0 at x* = x.
        condition: whether both players see the label.

    Raises:
        ConfigError: condition is asked for, but the data have no labels, or the distance leaves the samples open.
    """
    num_classes = num_labels(spec, condition)
    measure = build("prob.distances", distance)()
    check_samples(distance["name"], measure.colour_only)
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)

    def make_decoder(rngs: nnx.Rngs) -> nnx.Module:
        return decode_with(latent + num_classes, measure.offset(spec.mean)[..., None], rngs)

    def networks(rngs: nnx.Rngs) -> _Networks:
        encoder = encode_with(spec.shape, num_classes, rngs)
        code = nnx.Linear(encoder.num_features, latent, rngs=rngs)
        discriminator = _Discriminator(encoder, code, _Decoder(make_decoder(rngs), num_classes), measure)
        return _Networks(discriminator, _Decoder(make_decoder(rngs), num_classes))

    network = bind(networks)

    def draw(net: _Networks, batch: Batch, key: jax.Array) -> jax.Array:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
        z = jax.vmap(lambda key: jax.random.normal(key, (latent,)))(keys)
        return measure.picture(net.generator(z, batch["label"]))

    def play(params, stats, batch, key):
        """Return the networks, G(z), and the terms of the losses, each [B]."""
        net, held = (network.merge(p, stats) for p in (params, jax.lax.stop_gradient(params)))
        fake, label = draw(net, batch, key), batch["label"]
        real = net.discriminator.error(batch["image"], batch["input"], label)
        # The same number twice: each player sees the other as a constant.
        seen = jax.lax.stop_gradient(fake)
        discriminator_loss = real - net.weight * net.discriminator.error(seen, seen, label)
        generator_loss = held.discriminator.error(fake, fake, label)
        terms = {
            "loss": discriminator_loss + generator_loss,
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "real_error": real,
        }
        return net, fake, terms

    def loss(params, stats, batch, key, hypers, step):
        del step
        net, fake, terms = play(params, stats, batch, key)
        metrics = jax.tree.map(jnp.mean, terms)
        balance = hypers["gamma"] * metrics["real_error"] - metrics["generator_loss"]
        diversity = _diversity(fake, batch["image"])
        metrics |= {
            "k": net.weight,
            "convergence": metrics["real_error"] + jnp.abs(balance),
            "diversity": diversity,
            "collapsed": (net.diversity[...] < _COLLAPSED).astype(jnp.float32),
        }
        # Clipped where it is read: so the mean over devices of what is kept is that of all their examples.
        net.k[...] = net.weight + hypers["k_rate"] * balance
        net.diversity[...] = _MEMORY * net.diversity[...] + (1 - _MEMORY) * diversity
        return metrics["loss"], (network.stats(net), metrics)

    def evaluate(params, stats, batch, key, hypers):
        del hypers
        net, _, terms = play(params, stats, batch, key)
        code = net.discriminator.encode(batch["input"], batch["label"])
        error = measure.picture(net.discriminator.decoder(code, batch["label"])) - batch["image"]
        return {**terms, "mse": jnp.square(error).mean((1, 2, 3)), "mae": jnp.abs(error).mean((1, 2, 3))}

    def encode(params, stats, batch):
        return network.merge(params, stats).discriminator.encode(batch["input"], batch["label"])

    def decode(params, stats, z, label):
        return measure.picture(network.merge(params, stats).discriminator.decoder(z, label))

    def generate(params, stats, z, label):
        return measure.picture(network.merge(params, stats).generator(z, label))

    def sample(params, stats, key, label, temperature):
        return generate(params, stats, temperature * jax.random.normal(key, (len(label), latent)), label)

    return Model(
        network.init, loss, evaluate, None, encode, decode, sample, generate=generate, groups=players, alarm=_alarm
    )


def _diversity(fake: jax.Array, real: jax.Array) -> jax.Array:
    """Return the mean distance of generated pictures to the nearest other one of the batch, over that of real ones.

    It is near 1 for samples as varied as the data, and 0 where all are alike or all are one of a few: the variance of
    pixels would still be large then.
    """
    return _nearest(fake) / jnp.maximum(_nearest(real), 1e-12)


def _nearest(images: jax.Array) -> jax.Array:
    flat = images.reshape(len(images), -1)
    flat -= flat.mean(0)  # lest the differences drown in rounding
    squares = jnp.square(flat).sum(1)
    apart = squares[:, None] + squares - 2 * flat @ flat.T
    return jnp.sqrt(jnp.maximum(apart + jnp.diag(jnp.full(len(flat), jnp.inf)), 0).min(1)).mean()


def _alarm(metrics: Mapping[str, float]) -> str | None:
    if not metrics["collapsed"]:
        return None
    return (
        f"the generator has collapsed: its pictures differ from each other {metrics['diversity']:.2f} times as much as "
        "the data do; raise hypers.gamma, or try another hypers.k_rate or hypers.learning_rate"
    )
