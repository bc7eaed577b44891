"""The ladder VAE: layers of latents, drawn from the top down in the posterior as in the prior (Sonderby et al. 2016).

With z_1 the lowest of L layers, the only one that the decoder sees,

    p(x, z) = p(x|z_1) p(z_1|z_2) ... p(z_L),    q(z|x) = q(z_L|x) ... q(z_1|z_2, x),

with p(z_L) = N(0, I), and each p(z_i|z_i+1) a normal distribution given by dense layers. The posterior of a layer is
the product of that prior and of what the picture says of the layer, N(m_i(x), s_i(x)^2), normalised: the means are
weighted with the precisions.

Departures from the paper: the posterior of the top layer is such a product too; one dense layer lies between layers,
with the activation of the encoder, and there is no batch normalization; the scales of the priors are below 1, which
costs nothing, for the layers below can undo it, and keeps the latents on the grid of an entropy coder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.build import build
from vae_jax.errors import ConfigError
from vae_jax.nn.bind import Network, bind
from vae_jax.nn.latent_variable import LatentVariable, example_keys
from vae_jax.nn.layers import Dense
from vae_jax.prob.distributions import Normal, kl, normal_noise, product
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.support import check_pixels, num_labels
from vae_jax.types import Batch, Coding, Model, Spec

_LEAST = 0.05  # scale of a prior
_MOST = 4.0  # |log s_i(x)|


class _ToNormal(nnx.Module):
    """Dense layers, then a linear one to the mean and the raw scale of `size` latents."""

    def __init__(self, num_inputs: int, widths: tuple[int, ...], size: int, activation: str, rngs: nnx.Rngs):
        self.dense = Dense(num_inputs, widths, activation, rngs)
        small = nnx.initializers.variance_scaling(0.1, "fan_in", "normal")  # so that the rates start small
        self.out = nnx.Linear(self.dense.num_features, 2 * size, kernel_init=small, rngs=rngs)

    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        return tuple(jnp.split(self.out(self.dense(features)), 2, -1))


class _Estimates(nnx.Module):
    """What a picture says of each layer: features [B,F] -> normals [B,D_i] from the top."""

    def __init__(self, num_features: int, sizes: tuple[int, ...], width: int, activation: str, rngs: nnx.Rngs):
        self.up, self.estimate = nnx.Dict({}), nnx.Dict({})
        for i, size in enumerate(sizes):
            if i:
                self.up[f"layer_{i + 1}"] = Dense(num_features, (width,), activation, rngs)
                num_features = width
            self.estimate[f"layer_{i + 1}"] = _ToNormal(num_features, (), size, activation, rngs)

    def __call__(self, features: jax.Array) -> tuple[Normal, ...]:
        found = ()
        for name, estimate in self.estimate.items():
            features = self.up[name](features) if name in self.up else features
            loc, raw = estimate(features)
            found = (Normal(loc, jnp.exp(_MOST * jnp.tanh(raw / _MOST))), *found)
        return found


class _Priors(nnx.Module):
    """p(z_i|z_i+1, label) of each layer, and of the top one N(0, I)."""

    def __init__(self, sizes: tuple[int, ...], num_labels: int, width: int, activation: str, rngs: nnx.Rngs):
        self.sizes, self.num_labels, self.down = sizes, num_labels, nnx.Dict({})
        for i, size in enumerate(sizes[:-1]):
            num_inputs = sizes[i + 1] + num_labels
            self.down[f"layer_{i + 1}"] = _ToNormal(num_inputs, (width,), size, activation, rngs)

    def __call__(self, label: jax.Array, above: tuple[jax.Array, ...]) -> Normal:
        """label [...], all latents above [...,D_i] from the top -> [...,D_i] of the layer below them."""
        if not above:
            shape = (*label.shape, self.sizes[-1])
            return Normal(jnp.zeros(shape), jnp.ones(shape))
        told = jnp.concatenate([above[-1], jax.nn.one_hot(label, self.num_labels)], -1)
        loc, raw = self.down[f"layer_{len(self.sizes) - len(above)}"](told)
        return Normal(loc, _LEAST + (1 - _LEAST) * jax.nn.sigmoid(raw))


def make(
    spec: Spec,
    *,
    latent: int,
    above: tuple,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    likelihood: Mapping[str, Any],
    width: int = 200,
    num_samples: int = 1,
    condition: bool = False,
) -> Model:
    """Build a ladder VAE; codes hold the layers side by side, the lowest first.

    The loss of an example is -E[log p(x|z_1)] + w sum_i KL_i, with KL_i the divergence of the posterior of layer i from
    its prior, exact given a draw of the layers above; w rises linearly from 0 to `beta` during `kl_warmup_steps` steps.
    Training adds w sum_i max(free_bits - mean of KL_i over the batch, 0), the free bits of Kingma et al. (2016),
    with the layers as their groups: `free_bits` nats of a layer cost nothing.

    Args:
        spec: shape, classes, mean and kind of values of the data.
        latent: D, the number of latents of all layers.
        above: how many of them are in each layer above the lowest, from below.
        encoder: a component of `nn.encoders`; its features tell of the lowest layer, and by dense layers of the others.
        decoder: a component of `nn.decoders`; it sees the lowest layer alone.
        likelihood: a component of `prob.likelihoods`.
        width: units of each dense layer between layers of latents, upwards and downwards.
        num_samples: K, draws of z per example.
        condition: whether encoder, decoder and the priors below the top see the label.

    Raises:
        ConfigError: no latent is left for the lowest layer, condition is asked for and the data have no labels, or the
            likelihood does not take the values.
    """
    sizes = (latent - sum(above), *above)  # from the lowest
    if sizes[0] < 1:
        raise ConfigError(f"model.above={above} leaves none of model.latent={latent} for the lowest layer")
    labels, activation = num_labels(spec, condition), encoder.get("activation", "relu")
    observe = build("prob.likelihoods", likelihood)()
    check_pixels(likelihood["name"], observe.support, spec.values)
    encode_with, decode_with = build("nn.encoders", encoder), build("nn.decoders", decoder)

    def networks(rngs: nnx.Rngs) -> LatentVariable:
        def estimates(num_features: int, _, rngs: nnx.Rngs) -> nnx.Module:
            return _Estimates(num_features, sizes, width, activation, rngs)

        def priors(*_) -> nnx.Module:
            return _Priors(sizes, labels, width, activation, rngs)

        return LatentVariable(spec, labels, sizes[0], observe, encode_with, decode_with, estimates, priors, rngs)

    network = bind(networks)

    def infer(net: LatentVariable, batch: Batch, noise: jax.Array) -> tuple[tuple, tuple, tuple]:
        """Return z, q and p of each layer from the top; noise [...,B,D] as codes are laid out."""
        label = jnp.broadcast_to(batch["label"], noise.shape[:-1])
        z, q, p = (), (), ()
        for estimate, part in zip(net.q(batch), _layers(noise, sizes), strict=True):
            p += (net.prior(label, z),)
            q += (product(estimate, p[-1]),)
            z += (q[-1].at(part),)
        return z, q, p

    def draws(net: LatentVariable, batch: Batch, key: jax.Array, k: int) -> tuple[jax.Array, tuple, tuple, tuple]:
        """Return log p(x|z) [K,B], and z, q and p of each layer from the top."""
        z, q, p = infer(net, batch, normal_noise(example_keys(key, batch), k, latent))
        return net.log_px(batch["image"], z[-1], batch["label"]), z, q, p

    def bound(net: LatentVariable, batch: Batch, key: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        """Return the terms, each [B], and the rates of the layers [L,B]."""
        log_px, _, q, p = draws(net, batch, key, num_samples)
        rates = jnp.stack([kl(*pair).mean(0) for pair in zip(q, p, strict=True)][::-1])
        distortion, rate = -log_px.mean(0), rates.sum(0)
        terms = {"neg_elbo_nats": distortion + rate, "distortion_nats": distortion, "rate_nats": rate}
        return terms | {f"rate_{i + 1}_nats": rates[i] for i in range(len(sizes))}, rates

    def loss(params, stats, batch, key, hypers, step):
        net = network.merge(params, stats)
        terms, rates = bound(net, batch, key)
        weight = hypers["beta"] * jnp.minimum((step + 1) / jnp.maximum(hypers["kl_warmup_steps"], 1), 1)
        penalty = weight * jnp.maximum(hypers["free_bits"] - rates.mean(1), 0).sum()
        means = jax.tree.map(jnp.mean, terms)
        value = means["distortion_nats"] + weight * means["rate_nats"] + penalty
        return value, (network.stats(net), {"loss": value, **means, "penalty_free_bits": penalty})

    def evaluate(params, stats, batch, key, hypers):
        terms, _ = bound(network.merge(params, stats), batch, key)
        error = decode(params, stats, encode(params, stats, batch), batch["label"]) - batch["image"]
        weighted = terms["distortion_nats"] + hypers["beta"] * terms["rate_nats"]
        return {"loss": weighted, **terms, "mse": jnp.square(error).mean((1, 2, 3))}

    def log_weights(params, stats, batch, key, k):
        log_weight, *layers = draws(network.merge(params, stats), batch, key, k)
        for z, q, p in zip(*layers, strict=True):
            log_weight += p.log_prob(z) - q.log_prob(z)
        return log_weight

    def code_at(params, stats, batch, noise):
        z, _, _ = infer(network.merge(params, stats), batch, noise)
        return jnp.concatenate(z[::-1], -1)

    def encode(params, stats, batch):
        return code_at(params, stats, batch, jnp.zeros((len(batch["label"]), latent)))

    def draw(params, stats, batch, key):
        return code_at(params, stats, batch, normal_noise(example_keys(key, batch), 1, latent)[0])

    def decode(params, stats, z, label):
        return network.merge(params, stats).mean_picture(z[:, : sizes[0]], label)

    def generate(params, stats, z, label):
        net, drawn = network.merge(params, stats), ()
        for noise in _layers(z, sizes):
            drawn += (net.prior(label, drawn).at(noise),)
        return net.mean_picture(drawn[-1], label)

    def sample(params, stats, key, label, temperature):
        return generate(params, stats, temperature * jax.random.normal(key, (len(label), latent)), label)

    coding = _coding(network, observe, sizes) if observe.digit else None
    return Model(
        network.init, loss, evaluate, log_weights, encode, decode, sample, draw=draw, generate=generate, coding=coding
    )


def _layers(code: jax.Array, sizes: tuple[int, ...]) -> list[jax.Array]:
    """Cut a code [..., D] into its layers, and return them from the top."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return jnp.split(code, ends[:-1], -1)[::-1]


def _coding(network: Network, observe: Likelihood, sizes: tuple[int, ...]) -> Coding:
    """Return what entropy coding needs."""

    def posterior(params, stats, batch, above):
        net = network.merge(params, stats)
        return product(net.q(batch)[len(above)], net.prior(batch["label"], above))

    def prior(params, stats, label, above):
        return network.merge(params, stats).prior(label, above)

    def maps(params, stats, label, latents):
        return network.merge(params, stats).maps(latents[-1], label)

    return Coding(sizes[::-1], observe.bases, posterior, prior, maps, observe.digit)
