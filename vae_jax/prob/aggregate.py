"""The aggregate posterior q(z) = 1/N sum_n q(z|x_n), estimated from the posteriors of a batch."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import ConfigError
from vae_jax.prob.distributions import LOG_2PI, Normal


def log_aggregate(q: Normal, z: jax.Array, num_examples: int, estimator: str) -> tuple[jax.Array, jax.Array]:
    """Return log q(z) [B] and log q(z_j) [B,D] in nats, where z_i is drawn from q(.|x_i).

    Args:
        q: the posteriors of the batch, [B,D].
        z: a draw of each, [B,D].
        num_examples: N.
        estimator: 'exact', the mean of the batch: exact where the batch is the data set, else too large, for z_i's own
            posterior weighs N / B times too much. 'weighted', minibatch weighted sampling (Chen et al.
            2018): 1 / NB throughout. 'stratified': z_i's own posterior weighs 1/N, the others share the rest evenly,
            which is unbiased, and exact at B = N (their weights of stratified sampling have the same sum, unevenly).

    Raises:
        ConfigError: there is no such estimator.
    """
    weights = jnp.asarray(_log_weights(len(z), num_examples, estimator), z.dtype)
    noise = (z[:, None] - q.loc) / q.scale
    log_each = -0.5 * jnp.square(noise) - jnp.log(q.scale) - 0.5 * LOG_2PI  # [B,B,D], of z_i given x_k
    together = jax.nn.logsumexp(log_each.sum(-1) + weights, 1)
    return together, jax.nn.logsumexp(log_each + weights[..., None], 1)


def _log_weights(batch: int, num_examples: int, estimator: str) -> np.ndarray:
    """Return the log of the weight [B,B] of posterior k at z_i."""
    if estimator not in ("exact", "weighted", "stratified"):
        raise ConfigError(f"estimator={estimator!r} is unknown; known: exact, weighted, stratified")
    if estimator == "exact" or (estimator == "stratified" and num_examples <= batch):
        return np.full((batch, batch), -math.log(batch))
    if estimator == "weighted":
        return np.full((batch, batch), -math.log(batch * num_examples))
    weights = np.full((batch, batch), (num_examples - 1) / num_examples / max(batch - 1, 1))
    np.fill_diagonal(weights, 1 / num_examples if batch > 1 else 1)
    return np.log(weights)
