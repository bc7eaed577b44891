"""Directions of descent, before the learning rate. Each public function is a `config.optimizer.name`.

`hypers` are traced scalars: a function reads only those it uses.
"""

from __future__ import annotations

import optax

from vae_jax.types import Hypers


def adam(hypers: Hypers, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015, algorithm 1)."""
    del hypers
    return optax.scale_by_adam(b1, b2, eps)


def adamw(hypers: Hypers, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2); the decay is times the rate."""
    return optax.chain(optax.scale_by_adam(b1, b2, eps), optax.add_decayed_weights(hypers["weight_decay"]))


def sgd(hypers: Hypers, *, momentum: float = 0.0) -> optax.GradientTransformation:
    """Stochastic gradient descent, with heavy-ball momentum where it is above 0."""
    del hypers
    return optax.trace(momentum) if momentum else optax.identity()
