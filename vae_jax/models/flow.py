"""A normalizing flow: p(x) itself, by an invertible network, and no lower bound of it.

    log p(x) = log N(u; 0, I) + log |det du/dx|,    u the noise that the network maps to x

(Dinh, Sohl-Dickstein and Bengio 2017, equations 2 and 3). The layers are those of `vae_jax.nn.coupling`. Encoding is
the way to the noise, decoding the way back, and nothing is lost on it: the code is as large as the picture.

It is a density of continuous values: pixels that are constant, or of two values only, send it to infinity. It serves
to draw codes of other models (`vae_jax.tasks.densities`).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vae_jax.errors import ConfigError
from vae_jax.nn.bind import bind
from vae_jax.nn.coupling import Coupling
from vae_jax.prob.distributions import standard_normal
from vae_jax.types import Model, Spec


def make(spec: Spec, *, latent: int, depth: int = 8, width: int = 64) -> Model:
    """Build a flow. Its `neg_elbo_nats` is -log p(x), exactly, and so is the importance weight of every sample.

    Args:
        spec: shape of the data.
        latent: D, the size of the noise, which is that of a picture: H W C.
        depth: how many coupling layers.
        width: units in each of their two hidden layers.

    Raises:
        ConfigError: the code is smaller or larger than a picture.
    """
    size = math.prod(spec.shape)
    if latent != size:
        raise ConfigError(f"model.latent={latent}: a flow's code is as large as a picture, here {size}")
    network, base = bind(lambda rngs: Coupling(size, depth, width, rngs)), standard_normal(size)

    def log_prob(params, stats, batch) -> jax.Array:
        noise, log_det = network.merge(params, stats).inverse(batch["image"].reshape(-1, size))
        return base.log_prob(noise) + log_det

    def loss(params, stats, batch, key, hypers, step):
        del key, hypers, step
        value = -log_prob(params, stats, batch).mean()
        return value, (stats, {"loss": value, "neg_elbo_nats": value})

    def evaluate(params, stats, batch, key, hypers):
        del key, hypers
        nats = -log_prob(params, stats, batch)
        return {"loss": nats, "neg_elbo_nats": nats}

    def log_weights(params, stats, batch, key, k):
        del key
        return jnp.tile(log_prob(params, stats, batch), (k, 1))

    def encode(params, stats, batch):
        return network.merge(params, stats).inverse(batch["input"].reshape(-1, size))[0]

    def decode(params, stats, z, label):
        del label
        return network.merge(params, stats).forward(z)[0].reshape(-1, *spec.shape)

    def sample(params, stats, key, label, temperature):
        return decode(params, stats, temperature * jax.random.normal(key, (len(label), size)), label)

    return Model(network.init, loss, evaluate, log_weights, encode, decode, sample)
