"""Autoencoders with a discrete code: VQ-VAE, residual VQ and FSQ, with an autoregressive prior over the codes.

A picture is `positions` entries of a finite set (`nn.quantizers`), which the decoder reads as numbers. As q(z|x) has
all its mass on one code, log q = 0 and the bound is -ELBO = -log p(x|z) - log p(code): distortion and rate. The paper
(van den Oord et al. 2017) leaves out the rate, constant under a uniform prior, and fits a prior when all else is done
(section 3.3). Here both are trained in one step. The prior reads codes as integers, so no gradient passes from it to
the encoder, and Adam scales each parameter's own gradient: it is as if apart, but for `train.clip_norm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.errors import ConfigError
from vae_jax.nn.autoregressive import Autoregressive
from vae_jax.nn.bind import bind
from vae_jax.nn.quantizers import Quantized
from vae_jax.support import check_pixels, num_labels
from vae_jax.types import Batch, Model, Spec


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    likelihood: Mapping[str, Any],
    quantizer: Mapping[str, Any],
    positions: int,
    prior_width: int = 64,
    prior_depth: int = 2,
    condition: bool = False,
) -> Model:
    """Build an autoencoder whose code is `positions` entries of latent / positions numbers each.

    The loss is -log p(x|z) + that of the quantizer - log p(code); z itself, as numbers, is what `encode` returns. An
    encoder that ends in its layers over the picture (`hidden` is () or not a field of it) has its features cut, in
    their order, into equal parts, one for each entry, all mapped by the same linear layer: a convolutional code.
    Where it ends in dense layers, or the features do not divide, one linear layer makes all entries from all features.

    Args:
        spec: shape, classes, mean and kind of values of the data.
        latent: D, the numbers of all entries together.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        likelihood: a component of `prob.likelihoods`.
        quantizer: a component of `nn.quantizers`.
        positions: entries of a picture.
        prior_width: features of a token of the prior (`nn.autoregressive`).
        prior_depth: its blocks.
        condition: whether encoder, decoder and prior see the label.

    Raises:
        ConfigError: latent is not what positions and quantizer make, condition is asked for, but the data have no
            labels, or the likelihood does not take the values.
    """
    num_classes = num_labels(spec, condition)
    observe, quantize_with = build("prob.likelihoods", likelihood)(), build("nn.quantizers", quantizer)
    check_pixels(likelihood["name"], observe.support, spec.values)
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)

    class Networks(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.quantizer = quantize_with(max(1, latent // positions), rngs)
            if latent != positions * self.quantizer.dim:
                raise ConfigError(
                    f"model.latent={latent} is not model.positions={positions} entries of {self.quantizer.dim} numbers"
                )
            self.encoder = encode_with(spec.shape, num_classes, rngs)
            self.parts = _parts(self.encoder.num_features, encoder, positions)
            self.code = nnx.Linear(self.encoder.num_features // self.parts, latent // self.parts, rngs=rngs)
            maps = jnp.zeros((*spec.shape, observe.num_maps)).at[..., 0].set(observe.offset(spec.mean))
            self.decoder = decode_with(latent + num_classes, maps, rngs)
            self.shared = nnx.Dict({name: nnx.Param(jnp.float32(value)) for name, value in observe.shared.items()})
            kinds, codes = self.quantizer.depth, self.quantizer.size
            tokens = positions * kinds
            self.prior = Autoregressive(tokens, kinds, codes, num_classes, prior_width, prior_depth, rngs)

        def features(self, batch: Batch) -> jax.Array:
            """Return e, [B,P,D / P]."""
            features = self.encoder(batch["input"], _one_hot(batch["label"]))
            return self.code(features.reshape(len(features), self.parts, -1)).reshape(len(features), positions, -1)

        def maps(self, z: jax.Array, label: jax.Array) -> jax.Array:
            return self.decoder(jnp.concatenate([z.reshape(len(z), latent), _one_hot(label)], -1))

    def _one_hot(label: jax.Array) -> jax.Array:
        return jax.nn.one_hot(label, num_classes)

    network = bind(Networks)

    def bound(net: Networks, batch: Batch) -> tuple[jax.Array, Quantized, jax.Array, dict[str, jax.Array]]:
        """Return e, what became of it, the maps, and the terms of the bound, each [B]."""
        e = net.features(batch)
        quantized = net.quantizer(e)
        maps = net.maps(quantized.z, batch["label"])
        shared = {name: value[...] for name, value in net.shared.items()}
        distortion = -observe.log_prob(maps, shared, batch["image"])
        rate = -net.prior.log_prob(quantized.index.reshape(len(e), -1), _one_hot(batch["label"]))
        terms = {"neg_elbo_nats": distortion + rate, "distortion_nats": distortion, "rate_nats": rate}
        return e, quantized, maps, terms | {"commitment": quantized.commitment}

    def loss(params, stats, batch, key, hypers, step):
        del step
        net = network.merge(params, stats)
        e, quantized, _, terms = bound(net, batch)
        terms["loss"] = terms["neg_elbo_nats"] + net.quantizer.loss(quantized, hypers)
        metrics = jax.tree.map(jnp.mean, terms) | _usage(quantized.index, net.quantizer.size)
        net.quantizer.follow(e, quantized.index, key)
        return metrics["loss"], (network.stats(net), metrics)

    def evaluate(params, stats, batch, key, hypers):
        del key
        net = network.merge(params, stats)
        _, quantized, maps, terms = bound(net, batch)
        error = observe.mean(maps) - batch["image"]
        loss = terms["neg_elbo_nats"] + net.quantizer.loss(quantized, hypers)
        return {"loss": loss, **terms, "mse": jnp.square(error).mean((1, 2, 3))}

    def log_weights(params, stats, batch, key, k):
        del key
        terms = bound(network.merge(params, stats), batch)[-1]
        return jnp.broadcast_to(-terms["neg_elbo_nats"], (k, len(batch["image"])))

    def encode(params, stats, batch):
        net = network.merge(params, stats)
        return net.quantizer(net.features(batch)).z.reshape(-1, latent)

    def decode(params, stats, z, label):
        return observe.mean(network.merge(params, stats).maps(z, label))

    def sample(params, stats, key, label, temperature):
        net = network.merge(params, stats)
        index = net.prior.sample(key, _one_hot(label), temperature).reshape(len(label), positions, -1)
        return observe.mean(net.maps(net.quantizer.entries(index), label))

    return Model(network.init, loss, evaluate, log_weights, encode, decode, sample)


def _parts(num_features: int, encoder: Mapping[str, Any], positions: int) -> int:
    """Return into how many parts the features of an encoder are cut, each with the same linear layer."""
    return 1 if encoder.get("hidden") or num_features % positions else positions


def _usage(index: jax.Array, codes: int) -> dict[str, jax.Array]:
    """Return how a batch [B,P,depth] uses each codebook, on the mean: exp(entropy of its codes), the share unused."""
    share = jax.nn.one_hot(index, codes).mean((0, 1))
    perplexity = jnp.exp(-jax.scipy.special.xlogy(share, share).sum(-1))
    return {"batch_perplexity": perplexity.mean(), "batch_dead": (share == 0).mean()}
