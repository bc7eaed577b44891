"""The plain autoencoder: encoder x -> z, decoder z -> x*, one loss, the distance between x and x*.

With a corrupted input (`config.data.corruption`) it is the denoising autoencoder of Vincent et al. (2008). With no
hidden layers and mse its optimum is the subspace of PCA (Baldi and Hornik 1989).
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
from vae_jax.types import Model, Spec


def make(
    spec: Spec, *, latent: int, encoder: Mapping[str, Any], decoder: Mapping[str, Any], distance: Mapping[str, Any]
) -> Model:
    """Build an autoencoder; it has no likelihood and no prior to sample from.

    Args:
        spec: shape and mean of the data.
        latent: D, the size of the code.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        distance: a component of `prob.distances`.

    Raises:
        ConfigError: the pictures have too few channels for the distance.
    """
    measure = build("prob.distances", distance)()
    if measure.colour_only and spec.shape[2] < 2:
        raise ConfigError(
            f"model.distance.name={distance['name']!r} needs pictures in colour, and these have {spec.shape[2]} channel"
        )
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)

    class Networks(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.encoder = encode_with(spec.shape, 0, rngs)
            self.code = nnx.Linear(self.encoder.num_features, latent, rngs=rngs)
            self.decoder = decode_with(latent, measure.offset(spec.mean)[..., None], rngs)

        def encode(self, batch):
            return self.code(self.encoder(batch["input"], jnp.zeros((len(batch["input"]), 0))))

        def output(self, z):
            return self.decoder(z)[..., 0]

    network = bind(Networks)

    def evaluate(params, stats, batch, key, hypers):
        del key, hypers
        net = network.merge(params, stats)
        return _metrics(net, batch)

    def _metrics(net, batch):
        output = net.output(net.encode(batch))
        error = measure.picture(output) - batch["image"]
        return {
            "loss": measure.between(batch["image"], output),
            "mse": jnp.square(error).mean((1, 2, 3)),
            "mae": jnp.abs(error).mean((1, 2, 3)),
        }

    def loss(params, stats, batch, key, hypers, step):
        del key, hypers, step
        net = network.merge(params, stats)
        metrics = jax.tree.map(jnp.mean, _metrics(net, batch))
        return metrics["loss"], (network.stats(net), metrics)

    def encode(params, stats, batch):
        return network.merge(params, stats).encode(batch)

    def decode(params, stats, z, label):
        del label
        return measure.picture(network.merge(params, stats).output(z))

    return Model(network.init, loss, evaluate, None, encode, decode, None)
