"""Importance-weighted estimates of -log p(x), and which latents a model uses."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.types import Batch, Model, Tree


def neg_log_likelihood(
    model: Model, params: Tree, stats: Tree, batch: Batch, key: jax.Array, num_samples: int, chunk: int
) -> jax.Array:
    """Return -log 1/k sum_i p(x, z_i) / q(z_i | x) in nats per example, [B] (Burda et al. 2016, equation 8).

    It is an upper bound of -log p(x) in expectation, decreasing in k; k = 1 is a one-sample -ELBO.

    Args:
        model: with `log_weights`.
        params: parameters.
        stats: statistics.
        batch: B examples.
        key: noise, folded in by example and chunk: the value does not depend on the batch.
        num_samples: k, exactly so many samples are decoded.
        chunk: samples decoded at once; k need not be a multiple.
    """

    def of_chunk(index: jax.Array | int, size: int) -> jax.Array:
        weights = model.log_weights(params, stats, batch, jax.random.fold_in(key, index), size)
        return jax.nn.logsumexp(weights, axis=0)

    whole, rest = divmod(num_samples, chunk)
    sums = [jax.lax.map(lambda i: of_chunk(i, chunk), jnp.arange(whole))] if whole else []
    sums += [of_chunk(whole, rest)[None]] if rest else []
    return math.log(num_samples) - jax.nn.logsumexp(jnp.concatenate(sums), axis=0)


def active_units(codes: np.ndarray, threshold: float = 0.01) -> int:
    """Count the latents whose mean varies over the data by more than the threshold (Burda et al. 2016, section 5.2).

    codes [N,D]: the posterior means.
    """
    return int((codes.var(axis=0) > threshold).sum())
