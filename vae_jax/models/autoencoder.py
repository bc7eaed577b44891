"""The deterministic autoencoder: encoder x -> z, decoder z -> x*, the distance between x and x*, and maybe a penalty.

With a corrupted input (`config.data.corruption`) it is the denoising autoencoder of Vincent et al. (2008). With no
hidden layers and mse its optimum is the subspace of PCA (Baldi and Hornik 1989). What the penalties make of it, such
as sparse, contractive, RAE and WAE, is told in `vae_jax.regularizers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.errors import ConfigError
from vae_jax.nn.bind import bind
from vae_jax.nn.deterministic import Deterministic
from vae_jax.nn.spectral import SpectralNorm
from vae_jax.regularizers import NONE, Coded
from vae_jax.types import Loss, Model, Spec


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

    if spectral_norm:
        decode_with = _normed(decode_with)

    network = bind(lambda rngs: Deterministic(spec, latent, measure, encode_with, decode_with, rngs, regular.code))

    def measured(net: Deterministic, params, batch, key, hypers) -> Loss:
        z = net.encode(batch["input"])
        errors = net.errors(batch["image"], net.output(z))
        coded = Coded(batch["input"], z, net.encode, net.decode, params["decoder"], batch["index"], key)
        extra = regular.penalty(coded, hypers)
        return Loss(errors["distance"] + extra.per_example, {**errors, **extra.terms}, extra.penalties)

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


def _normed(decode_with: Callable[..., nnx.Module]) -> Callable[..., nnx.Module]:
    """Return what makes the same decoder, with each of its matrices divided by its norm."""
    return lambda latent, mean, rngs: SpectralNorm(lambda rngs: decode_with(latent, mean, rngs), rngs)
