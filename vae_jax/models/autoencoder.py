"""The deterministic autoencoder: encoder x -> z, decoder z -> x*, the distance between x and x*, and maybe a penalty.

With a corrupted input (`config.data.corruption`) it is the denoising autoencoder of Vincent et al. (2008). With no
hidden layers and mse its optimum is the subspace of PCA (Baldi and Hornik 1989). What the penalties make of it, such
as sparse, contractive, RAE and WAE, is told in `vae_jax.regularizers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.errors import ConfigError
from vae_jax.nn.bind import bind
from vae_jax.nn.spectral import SpectralNorm
from vae_jax.prob.distances import Distance
from vae_jax.regularizers import NONE, Coded, Regularizer
from vae_jax.types import Loss, Model, Spec


class _Networks(nnx.Module):
    """Both networks, with what their last layers stand for."""

    def __init__(self, encoder: nnx.Module, code: nnx.Module, decoder: nnx.Module, of: Regularizer, measure: Distance):
        self.encoder, self.code, self.decoder = encoder, code, decoder
        self.activation, self.measure = of.code, measure

    def encode(self, x: jax.Array) -> jax.Array:
        return self.activation(self.code(self.encoder(x, jnp.zeros((len(x), 0)))))

    def output(self, z: jax.Array) -> jax.Array:
        return self.decoder(z)[..., 0]

    def decode(self, z: jax.Array) -> jax.Array:
        return self.measure.picture(self.output(z))


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    distance: Mapping[str, Any],
    regularizer: Mapping[str, Any] | None = None,
    spectral_norm: bool = False,
) -> Model:
    """Build an autoencoder; it has no likelihood, and a prior to sample from where its regularizer has one.

    Args:
        spec: shape and mean of the data.
        latent: D, the size of the code.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        distance: a component of `prob.distances`.
        regularizer: a component of `regularizers`, or None for a plain autoencoder.
        spectral_norm: whether each matrix of the decoder is divided by its largest singular value.

    Raises:
        ConfigError: the pictures have too few channels for the distance.
    """
    measure = build("prob.distances", distance)()
    if measure.colour_only and spec.shape[2] < 2:
        raise ConfigError(
            f"model.distance.name={distance['name']!r} needs pictures in colour, and these have {spec.shape[2]} channel"
        )
    regular = build("regularizers", regularizer)() if regularizer else NONE
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)

    def make_decoder(rngs: nnx.Rngs) -> nnx.Module:
        return decode_with(latent, measure.offset(spec.mean)[..., None], rngs)

    def networks(rngs: nnx.Rngs) -> _Networks:
        encoder = encode_with(spec.shape, 0, rngs)
        code = nnx.Linear(encoder.num_features, latent, rngs=rngs)
        decoder = SpectralNorm(make_decoder, rngs) if spectral_norm else make_decoder(rngs)
        return _Networks(encoder, code, decoder, regular, measure)

    network = bind(networks)

    def measured(net: _Networks, params, batch, key, hypers) -> Loss:
        z = net.encode(batch["input"])
        output = net.output(z)
        coded = Coded(batch["input"], z, net.encode, net.decode, params["decoder"], batch["index"], key)
        extra = regular.penalty(coded, hypers)
        between, error = measure.between(batch["image"], output), measure.picture(output) - batch["image"]
        errors = {"mse": jnp.square(error).mean((1, 2, 3)), "mae": jnp.abs(error).mean((1, 2, 3))}
        return Loss(between + extra.per_example, {"distance": between, **extra.terms, **errors}, extra.penalties)

    def loss(params, stats, batch, key, hypers, step):
        del step
        net = network.merge(params, stats)
        found = measured(net, params, batch, key, hypers)
        if spectral_norm:
            net.decoder.iterate()
        metrics = {f"penalty_{name}": value for name, value in found.penalties.items()}
        mean = found.per_example.mean()
        total = mean + sum(found.penalties.values())
        return total, (network.stats(net), {"loss": total, **jax.tree.map(jnp.mean, found.terms), **metrics})

    def evaluate(params, stats, batch, key, hypers):
        found = measured(network.merge(params, stats), params, batch, key, hypers)
        return {"loss": found.per_example, **found.terms}

    def encode(params, stats, batch):
        return network.merge(params, stats).encode(batch["input"])

    def decode(params, stats, z, label):
        del label
        return network.merge(params, stats).decode(z)

    def sample(params, stats, key, label, temperature):
        return decode(params, stats, temperature * jax.random.normal(key, (len(label), latent)), label)

    return Model(network.init, loss, evaluate, None, encode, decode, sample if regular.has_prior else None)
