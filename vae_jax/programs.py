"""What `Trained` compiles and runs batch by batch: functions of (what is static, params, stats, batch, ...)."""

from __future__ import annotations

import jax

from vae_jax.evaluation import likelihood
from vae_jax.precision import with_products
from vae_jax.types import Batch, Hypers, Model, Tree


def encode(model: Model, params: Tree, stats: Tree, batch: Batch) -> jax.Array:
    """Return the codes [B,D]."""
    return model.encode(params, stats, batch)


def draw(model: Model, params: Tree, stats: Tree, batch: Batch, key: jax.Array) -> jax.Array:
    """Return a draw of q(z|x) for each example, [B,D]."""
    return model.draw(params, stats, batch, key)


def decode(model: Model, params: Tree, stats: Tree, batch: Batch) -> jax.Array:
    """Return the mean pictures [B,H,W,C] of codes."""
    return model.decode(params, stats, batch["code"], batch["label"])


def generate(model: Model, params: Tree, stats: Tree, batch: Batch) -> jax.Array:
    """Return the mean pictures [B,H,W,C] of z."""
    return (model.generate or model.decode)(params, stats, batch["code"], batch["label"])


def evaluate(
    static: tuple[Model, str], params: Tree, stats: Tree, batch: Batch, key: jax.Array, hypers: Hypers
) -> Tree:
    """Return what the model measures of each example, every value [B]."""
    model, precision = static
    return with_products(precision, model.evaluate)(params, stats, batch, key, hypers)


def neg_log_likelihood(
    static: tuple[Model, str, int, int], params: Tree, stats: Tree, batch: Batch, key: jax.Array
) -> jax.Array:
    """Return the importance-weighted -log p(x) of each example, [B], in nats."""
    model, precision, num_samples, chunk = static

    def estimate(params: Tree, stats: Tree, batch: Batch, key: jax.Array) -> jax.Array:
        return likelihood.neg_log_likelihood(model, params, stats, batch, key, num_samples, chunk)

    return with_products(precision, estimate)(params, stats, batch, key)
