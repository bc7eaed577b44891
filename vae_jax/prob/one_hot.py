"""Codes with a part of one-hot numbers: Gumbel-softmax, and the joint of a normal and a one-hot part."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.prob.distributions import Normal


class OneHot(NamedTuple):
    """G one-hot vectors of C numbers, side by side: D = G C. logits [..., G,C]."""

    logits: jax.Array
    temperature: float = 1.0  # of the relaxation through which gradients pass

    @property
    def mean(self) -> jax.Array:
        """The probabilities, [..., D]."""
        return _flat(jax.nn.softmax(self.logits))

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return log p(z) in nats, of one-hot z [..., D] -> [...]."""
        return (z.reshape(*z.shape[:-1], *self.logits.shape[-2:]) * jax.nn.log_softmax(self.logits)).sum((-2, -1))

    def draw(self, keys: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """Return one-hot z [K,B,D] and log q(z|x) [K,B]; keys [B].

        The straight-through Gumbel-softmax (Jang et al. 2017, section 2.2): z is a true draw, so a bound that is
        computed of it holds; its gradient is that of softmax((logits + Gumbel noise) / temperature), and biased. log q
        is a function of z in this too: a bound has the gradient of its rate by way of z as well as that of log p(x|z).
        """
        gumbel = jax.vmap(lambda key: jax.random.gumbel(key, (k, *self.logits.shape[-2:])), out_axes=1)(keys)
        relaxed = jax.nn.softmax((self.logits + gumbel) / self.temperature)
        hard = jax.nn.one_hot(relaxed.argmax(-1), relaxed.shape[-1])
        z = _flat(hard + relaxed - jax.lax.stop_gradient(relaxed))
        return z, self.log_prob(z)

    def kl_to(self, prior: Any) -> jax.Array | None:
        """Return KL(q || prior) [B], exact, if the prior is one-hot too."""
        if not isinstance(prior, OneHot):
            return None
        log_q, log_p = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(prior.logits)
        return (jnp.exp(log_q) * (log_q - log_p)).sum((-2, -1))

    def sample(self, key: jax.Array, num: int, temperature: jax.Array | float) -> jax.Array:
        """Return num one-hot draws [N,D] of logits / temperature: at 0, the first of the most probable ones."""
        gumbel = jax.random.gumbel(key, (num, *self.logits.shape))
        return _flat(jax.nn.one_hot((self.logits + temperature * gumbel).argmax(-1), self.logits.shape[-1]))


class Joint(NamedTuple):
    """Independent parts: a normal of D - C numbers, then one one-hot vector of C (Dupont 2018, equation 4)."""

    normal: Normal
    one_hot: OneHot

    @property
    def mean(self) -> jax.Array:
        """The means of both parts, [..., D]."""
        return jnp.concatenate([self.normal.mean, self.one_hot.mean], -1)

    def log_prob(self, z: jax.Array) -> jax.Array:
        """Return log p(z) in nats. z [..., D] -> [...]."""
        size = self.normal.loc.shape[-1]
        return self.normal.log_prob(z[..., :size]) + self.one_hot.log_prob(z[..., size:])

    def draw(self, keys: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
        """Return z [K,B,D] and log q(z|x) [K,B]; keys [B]."""
        pairs = jax.vmap(jax.random.split)(keys)
        (a, log_a), (b, log_b) = self.normal.draw(pairs[:, 0], k), self.one_hot.draw(pairs[:, 1], k)
        return jnp.concatenate([a, b], -1), log_a + log_b

    def kl_to(self, prior: Any) -> jax.Array | None:
        """Return KL(q || prior) [B], exact, if the prior has the same parts."""
        return sum(self.kl_parts(prior)) if isinstance(prior, Joint) else None

    def kl_parts(self, prior: Joint) -> tuple[jax.Array, jax.Array]:
        """Return the KL divergences of the normal and of the one-hot part, [B] each."""
        return self.normal.kl_to(prior.normal), self.one_hot.kl_to(prior.one_hot)

    def sample(self, key: jax.Array, num: int, temperature: jax.Array | float) -> jax.Array:
        """Return num draws [N,D]; the temperature is that of the normal part alone, unless it is 0."""
        a, b = jax.random.split(key)
        hot = self.one_hot.sample(b, num, jnp.where(jnp.asarray(temperature) > 0, 1.0, 0.0))
        return jnp.concatenate([self.normal.sample(a, num, temperature), hot], -1)


def uniform(groups: int, categories: int) -> OneHot:
    """Return the uniform distribution over G one-hot vectors of C numbers: log p = -G log C."""
    return OneHot(jnp.full((groups, categories), -math.log(categories)))


def _flat(values: jax.Array) -> jax.Array:
    return values.reshape(*values.shape[:-2], -1)
