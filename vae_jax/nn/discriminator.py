"""The second player of an adversarial model: it tells what is real from what is made."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.types import Tree


class Discriminator(nnx.Module):
    """An encoder of `nn.encoders` and one linear layer: the logit log D/(1 - D), D the probability of being real.

    At its optimum the logit is the log of the ratio of the densities of what is real and what is made (Goodfellow et
    al. 2014, proposition 1).

    Args:
        judge_with: the encoder, to be given shape, number of labels and rngs.
        shape: of what is judged: H, W, C of a picture, 1, 1, D of a code.
        rngs: for the parameters.
    """

    def __init__(self, judge_with: Callable[..., nnx.Module], shape: tuple[int, int, int], rngs: nnx.Rngs):
        self.shape, self.encoder = shape, judge_with(shape, 0, rngs)
        self.out = nnx.Linear(self.encoder.num_features, 1, rngs=rngs)

    def features(self, x: jax.Array) -> jax.Array:
        """Return what the last layer sees: pictures [N,H,W,C] or codes [N,D] -> [N,F]."""
        return self.encoder(x.reshape(-1, *self.shape), jnp.zeros((len(x), 0)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the logit [N]."""
        return self.out(self.features(x))[..., 0]


def neg_log_real(logit: jax.Array) -> jax.Array:
    """Return -log D in nats. Whoever makes what is judged lowers it (Goodfellow et al. 2014, end of section 3)."""
    return jax.nn.softplus(-logit)


def neg_log_made(logit: jax.Array) -> jax.Array:
    """Return -log(1 - D) in nats."""
    return jax.nn.softplus(logit)


def players(params: Tree) -> Tree:
    """Name the player that each parameter belongs to: the network at the top that holds it."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key, params)
