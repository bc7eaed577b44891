"""Bounds that are tighter than the ELBO, and gradients of them with less noise; w = p(x,z) / q(z|x), K draws each.

With num_samples = K = 1 all of them are the ELBO of one draw.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vae_jax.errors import ConfigError
from vae_jax.types import Draws, Hypers, Loss


def iwae(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise -log 1/K sum_k w_k (Burda et al. 2016, equation 8)."""
    del hypers, step
    bound = -_log_mean(draws.log_weights)
    return Loss(bound, draws.terms | {"neg_bound_nats": bound})


def miwae(draws: Draws, hypers: Hypers, step: jax.Array, *, num_groups: int = 8) -> Loss:
    """Minimise the mean of `num_groups` = M bounds of K / M draws each (MIWAE: Rainforth et al. 2018)."""
    del hypers, step
    bound = -_log_mean_in_groups(draws.log_weights, num_groups)
    return Loss(bound, draws.terms | {"neg_bound_nats": bound})


def piwae(draws: Draws, hypers: Hypers, step: jax.Array, *, num_groups: int = 8) -> Loss:
    """The encoder minimises the bound of MIWAE, the decoder and the prior that of IWAE (PIWAE: Rainforth et al. 2018).

    More draws improve the gradient of the decoder, and drown that of the encoder.
    """
    del hypers, step
    bound = -_log_mean(draws.log_weights)
    return Loss(
        bound,
        draws.terms | {"neg_bound_nats": bound},
        inference=-_log_mean_in_groups(draws.log_weights, num_groups),
    )


def ciwae(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise `elbo_share` times -ELBO and the rest times IWAE's bound (CIWAE: Rainforth et al. 2018)."""
    del step
    terms, bound = draws.terms, -_log_mean(draws.log_weights)
    share = hypers["elbo_share"]
    return Loss(share * terms["neg_elbo_nats"] + (1 - share) * bound, terms | {"neg_bound_nats": bound})


def stl(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """The ELBO by the path gradient alone: log q(z|x) counts as a function of z (Roeder et al. 2017).

    Its noise vanishes as q approaches the true posterior: 'sticking the landing'. The value is the mean of -log w.
    """
    del hypers, step
    return Loss(-_path_log_weights(draws).mean(0), draws.terms)


def dreg(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """IWAE's bound with doubly reparameterized gradients for the encoder (Tucker et al. 2019).

    With v_k = w_k / sum w it is the gradient through z of sum_k v_k^2 log w_k, v held.
    """
    del hypers, step
    bound, log_weights = -_log_mean(draws.log_weights), _path_log_weights(draws)
    shares = jax.lax.stop_gradient(jax.nn.softmax(draws.log_weights, 0))
    path = -(jnp.square(shares) * log_weights).sum(0)
    return Loss(bound, draws.terms | {"neg_bound_nats": bound}, inference=path)


def renyi(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise -1 / (1 - alpha) log 1/K sum_k w_k^(1 - alpha) (the VR bound of Li and Turner 2016).

    alpha = 1 is the mean of -log w, alpha = 0 is IWAE; below 0 it may exceed log p(x).
    """
    del step
    power = 1 - hypers["alpha"]
    near = jnp.abs(power) < 1e-3
    safe = jnp.where(near, 1.0, power)
    bound = -jnp.where(near, draws.log_weights.mean(0), _log_mean(safe * draws.log_weights) / safe)
    return Loss(bound, draws.terms | {"neg_bound_nats": bound})


def _log_mean(log_weights: jax.Array) -> jax.Array:
    """Return the log of the mean of the weights over K: [K,B] -> [B]."""
    return jax.nn.logsumexp(log_weights, 0) - jnp.log(len(log_weights))


def _log_mean_in_groups(log_weights: jax.Array, num_groups: int) -> jax.Array:
    """Return the mean over groups of K / num_groups weights of the log of their mean: [K,B] -> [B]."""
    if len(log_weights) % num_groups:
        raise ConfigError(
            f"model.num_samples={len(log_weights)} does not divide into model.objective.num_groups={num_groups}"
        )
    grouped = log_weights.reshape(num_groups, -1, log_weights.shape[1])
    return jax.vmap(_log_mean)(grouped).mean(0)


def _path_log_weights(draws: Draws) -> jax.Array:
    """Return log w [K,B] in which the parameters of q count through z alone."""
    if not hasattr(draws.q, "log_prob"):
        raise ConfigError("this objective needs log q(z|x) at any z, which the posterior does not have; take diagonal")
    return draws.log_px + draws.log_pz - jax.lax.stop_gradient(draws.q).log_prob(draws.z)
