"""The variational autoencoder: a learned mean and standard deviation, and the reparameterization.

Kingma and Welling (2014); with `condition` the conditional one of Sohn et al. (2015), with the prior N(0, I) for every
label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.errors import ConfigError
from vae_jax.nn.bind import Network, bind
from vae_jax.prob.distributions import Normal, standard_normal
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.types import Batch, Coding, Draws, Model, Spec, Values

_PIXELS = {"binary": "0 and 1", "levels": "k/255", "unit": "any value in [0, 1]"}
_MADE_BY = {"binary": "dynamic, static or threshold", "levels": "uint8"}  # data.pixels


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    likelihood: Mapping[str, Any],
    objective: Mapping[str, Any],
    num_samples: int = 1,
    condition: bool = False,
) -> Model:
    """Build a VAE with q(z|x) = N(mean(x), diag(scale(x)^2)) and p(z) = N(0, I).

    Args:
        spec: shape, classes, mean and kind of values of the data.
        latent: D, the size of z.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        likelihood: a component of `prob.likelihoods`.
        objective: a component of `objectives`.
        num_samples: K, draws of z per example.
        condition: whether encoder and decoder see the label.

    Raises:
        ConfigError: condition is asked for, but the data have no labels, or the likelihood does not take the values.
    """
    if condition and not spec.num_classes:
        raise ConfigError("model.condition=True needs labels, and the data have none")
    num_classes = spec.num_classes if condition else 0
    observe, bound, prior = (
        build("prob.likelihoods", likelihood)(),
        build("objectives", objective),
        standard_normal(latent),
    )
    _check_support(likelihood["name"], observe.support, spec.values)
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)

    class Networks(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.encoder = encode_with(spec.shape, num_classes, rngs)
            self.loc = nnx.Linear(self.encoder.num_features, latent, rngs=rngs)
            self.log_scale = nnx.Linear(self.encoder.num_features, latent, rngs=rngs)
            maps = jnp.zeros((*spec.shape, observe.num_maps)).at[..., 0].set(observe.offset(spec.mean))
            self.decoder = decode_with(latent + num_classes, maps, rngs)
            self.shared = nnx.Dict({name: nnx.Param(jnp.float32(value)) for name, value in observe.shared.items()})

        def posterior(self, batch: Batch) -> Normal:
            features = self.encoder(batch["input"], _one_hot(batch["label"]))
            return Normal(self.loc(features), jnp.exp(self.log_scale(features)))

        def maps(self, z: jax.Array, label: jax.Array) -> jax.Array:
            return self.decoder(jnp.concatenate([z, _one_hot(label)], -1))

    def _one_hot(label: jax.Array) -> jax.Array:
        return jax.nn.one_hot(label, num_classes)

    network = bind(Networks)

    def draw(net: Networks, batch: Batch, key: jax.Array, k: int) -> Draws:
        noise_key, rest = jax.random.split(key)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(noise_key, batch["index"])
        noise = jax.vmap(lambda key: jax.random.normal(key, (k, latent)), out_axes=1)(keys)
        q = net.posterior(batch)
        z = q.at(noise)
        x, label = (jnp.broadcast_to(batch[name], (k, *batch[name].shape)) for name in ("image", "label"))
        maps = net.maps(z.reshape(-1, latent), label.reshape(-1))
        shared = {name: value[...] for name, value in net.shared.items()}
        log_px = observe.log_prob(maps, shared, x.reshape(-1, *spec.shape)).reshape(z.shape[:2])
        return Draws(batch["image"], q, prior, z, log_px, prior.log_prob(z), q.log_prob(z), rest)

    def loss(params, stats, batch, key, hypers, step):
        net = network.merge(params, stats)
        per_example, terms = bound(draw(net, batch, key, num_samples), hypers, step)
        metrics = {"loss": per_example, **terms}
        return per_example.mean(), (network.stats(net), jax.tree.map(jnp.mean, metrics))

    def evaluate(params, stats, batch, key, hypers):
        net = network.merge(params, stats)
        per_example, terms = bound(draw(net, batch, key, num_samples), hypers, jnp.inf)
        error = decode(params, stats, net.posterior(batch).loc, batch["label"]) - batch["image"]
        return {"loss": per_example, **terms, "mse": jnp.square(error).mean((1, 2, 3))}

    def log_weights(params, stats, batch, key, k):
        draws = draw(network.merge(params, stats), batch, key, k)
        return draws.log_px + draws.log_pz - draws.log_qz

    def encode(params, stats, batch):
        return network.merge(params, stats).posterior(batch).loc

    def decode(params, stats, z, label):
        return observe.mean(network.merge(params, stats).maps(z, label))

    def sample(params, stats, key, label, temperature):
        z = prior.at(temperature * jax.random.normal(key, (len(label), latent)))
        return decode(params, stats, z, label)

    coding = _coding(network, observe, prior) if observe.digit else None
    return Model(network.init, loss, evaluate, log_weights, encode, decode, sample, coding=coding)


def _coding(network: Network, observe: Likelihood, prior: Normal) -> Coding:
    """Return what entropy coding needs: one layer of latents, so nothing is above it."""

    def posterior(params, stats, batch, above):
        del above
        return network.merge(params, stats).posterior(batch)

    def prior_of(params, stats, label, above):
        del params, stats, above
        return Normal(*(jnp.broadcast_to(value, (len(label), *value.shape)) for value in prior))

    def maps(params, stats, label, latents):
        return network.merge(params, stats).maps(latents[0], label)

    return Coding(prior.loc.shape, observe.bases, posterior, prior_of, maps, observe.digit)


def _check_support(name: str, support: Values, values: Values | None) -> None:
    kinds = get_args(Values)
    if values is not None and kinds.index(values) > kinds.index(support):
        raise ConfigError(
            f"model.likelihood.name={name!r} takes pixels of {_PIXELS[support]}, and the data have {_PIXELS[values]}; "
            f"set data.pixels to {_MADE_BY[support]}, or take another likelihood, such as gaussian_shared_scale"
        )
