"""The networks of a variational autoencoder: encoder, posterior, prior, decoder and the likelihood's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.nn.bind import Network
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.types import Batch, Draws, Spec, Tree

_MEMORY = 0.99  # of the moving average that a likelihood's fitted numbers are

INFERENCE = ("encoder", "posterior")  # the attributes of `LatentVariable` that describe q(z|x); the others, p(x,z)


class Statistic(nnx.Variable):
    """What is carried from step to step besides the parameters."""


class LatentVariable(nnx.Module):
    """p(x|z) p(z) and q(z|x).

    Args:
        spec: shape, mean and size of the data.
        num_labels: how many classes encoder and decoder are told; 0 where they are told none.
        latent: D.
        observe: the likelihood.
        encode_with: an encoder of `nn.encoders`, to be given shape, number of labels and rngs.
        decode_with: a decoder of `nn.decoders`.
        infer_with: a posterior of `nn.posteriors`.
        expect_with: a prior of `nn.priors`.
        rngs: for the parameters.
    """

    def __init__(
        self,
        spec: Spec,
        num_labels: int,
        latent: int,
        observe: Likelihood,
        encode_with: Callable[..., nnx.Module],
        decode_with: Callable[..., nnx.Module],
        infer_with: Callable[..., nnx.Module],
        expect_with: Callable[..., nnx.Module],
        rngs: nnx.Rngs,
    ):
        self.num_labels, self.num_examples, self.observe = num_labels, spec.num_examples, observe
        self.encoder = encode_with(spec.shape, num_labels, rngs)
        self.posterior = infer_with(self.encoder.num_features, latent, rngs)
        maps = jnp.zeros((*spec.shape, observe.num_maps)).at[..., 0].set(observe.offset(spec.mean))
        self.decoder = decode_with(latent + num_labels, maps, rngs)
        self.prior = expect_with(latent, spec.mean, rngs)
        self.shared = nnx.Dict({name: nnx.Param(jnp.float32(value)) for name, value in observe.shared.items()})
        self.fitted = nnx.Dict({name: Statistic(jnp.float32(value)) for name, value in observe.fitted.items()})

    def q(self, batch: Batch) -> Any:
        """Return q(z|x): batch [B], event [D]."""
        return self.posterior(self.encoder(batch["input"], self._one_hot(batch["label"])))

    def p(self) -> Any:
        """Return p(z). Pictures that the prior has learned have no label: they are shown none."""
        return self.prior(lambda x: self.posterior(self.encoder(x, jnp.zeros((len(x), self.num_labels)))))

    def maps(self, z: jax.Array, label: jax.Array) -> jax.Array:
        """Return what the decoder says of the pixels: z [N,D], label [N] -> [N,H,W,C,P]."""
        return self.decoder(jnp.concatenate([z, self._one_hot(label)], -1))

    def mean_picture(self, z: jax.Array, label: jax.Array) -> jax.Array:
        """Return the mean of p(x|z): z [N,D], label [N] -> [N,H,W,C]."""
        return self.observe.mean(self.maps(z, label))

    def log_px(self, x: jax.Array, z: jax.Array, label: jax.Array) -> jax.Array:
        """Return log p(x|z) [K,B] of x [B,H,W,C], z [K,B,D], label [B].

        What the likelihood fits moves towards this batch, once the value has been taken; only training keeps it.
        """
        shape = z.shape[:2]
        x, label = (jnp.broadcast_to(value, (len(z), *value.shape)) for value in (x, label))
        x, maps = x.reshape(-1, *x.shape[2:]), self.maps(z.reshape(-1, z.shape[-1]), label.reshape(-1))
        numbers = {name: value[...] for name, value in (*self.shared.items(), *self.fitted.items())}
        log_px = self.observe.log_prob(maps, numbers, x).reshape(shape)
        if self.fitted:
            for name, value in self.observe.fit(maps, x).items():
                self.fitted[name][...] = _MEMORY * numbers[name] + (1 - _MEMORY) * jax.lax.stop_gradient(value)
        return log_px

    def error(self, batch: Batch) -> jax.Array:
        """Return the mean over the pixels of (x - x*)^2 [B], x* the picture of the mean of q(z|x)."""
        again = self.mean_picture(self.q(batch).mean, batch["label"])
        return jnp.square(again - batch["image"]).mean((1, 2, 3))

    def draws(self, batch: Batch, key: jax.Array, k: int, q: Any = None, prior: Any = None) -> Draws:
        """Draw z k times for each example, with noise keyed by its index; q(z|x) and p(z) may be given."""
        noise_key, rest = jax.random.split(key)
        q, prior = self.q(batch) if q is None else q, self.p() if prior is None else prior
        z, log_qz = q.draw(example_keys(noise_key, batch), k)
        log_px, log_pz = self.log_px(batch["image"], z, batch["label"]), prior.log_prob(z)
        exact = q.kl_to(prior)
        kl = (log_qz - log_pz).mean(0) if exact is None else exact
        return Draws(batch["image"], q, prior, z, log_px, log_pz, log_qz, kl, self.num_examples, rest)

    def _one_hot(self, label: jax.Array) -> jax.Array:
        return jax.nn.one_hot(label, self.num_labels)


def views(network: Network, part: Callable[[nnx.Module], LatentVariable] = lambda net: net) -> dict[str, Any]:
    """Return the functions of `types.Model` that are those of any p(x|z) p(z) and q(z|x), by name.

    Args:
        network: bound.
        part: the `LatentVariable` of the merged module, where that is not all of it.
    """

    def merge(params: Tree, stats: Tree) -> LatentVariable:
        return part(network.merge(params, stats))

    def log_weights(params, stats, batch, key, k):
        return merge(params, stats).draws(batch, key, k).log_weights

    def encode(params, stats, batch):
        return merge(params, stats).q(batch).mean

    def draw(params, stats, batch, key):
        return merge(params, stats).q(batch).draw(example_keys(key, batch), 1)[0][0]

    def decode(params, stats, z, label):
        return merge(params, stats).mean_picture(z, label)

    def sample(params, stats, key, label, temperature):
        net = merge(params, stats)
        return net.mean_picture(net.p().sample(key, len(label), temperature), label)

    return {"log_weights": log_weights, "encode": encode, "draw": draw, "decode": decode, "sample": sample}


def example_keys(key: jax.Array, batch: Batch) -> jax.Array:
    """Return a key for each example [B], which does not depend on how examples are batched."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
