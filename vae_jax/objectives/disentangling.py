"""The ELBO and a penalty on the aggregate posterior q(z), the mean of q(z|x) over the data, as a batch shows it.

The penalty is a property of the batch: it is added in training and logged, and evaluation is that of the bound.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vae_jax.errors import ConfigError
from vae_jax.prob.aggregate import log_aggregate
from vae_jax.prob.discrepancies import mmd
from vae_jax.prob.distributions import FullNormal, Normal
from vae_jax.types import Draws, Hypers, Loss


def beta_tcvae(draws: Draws, hypers: Hypers, step: jax.Array, *, estimator: str = "weighted") -> Loss:
    """Minimise -ELBO + (beta - 1) TC, TC = KL(q(z) || prod_j q(z_j)) (Chen et al. 2018, equation 4, alpha = gamma = 1).

    beta multiplies the total correlation alone, not the KL divergence. `estimator` is a way of `log_aggregate`.
    """
    del step
    log_q, log_each = log_aggregate(_normal(draws.q), draws.z[0], draws.num_examples, estimator)
    total_correlation = (log_q - log_each.sum(-1)).mean()
    terms = draws.terms
    return Loss(terms["neg_elbo_nats"], terms, {"tc": (hypers["beta"] - 1) * total_correlation})


def dip_i(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise -ELBO + the distance of Cov_x[E_q[z]] from I (DIP-VAE-I: Kumar et al. 2018, equation 6).

    `dip_off_diagonal` times the squares off the diagonal and `dip_diagonal` times those of the diagonal less 1.
    """
    del step
    if not isinstance(draws.q, Normal | FullNormal):  # others tell another centre, or their mode
        raise ConfigError("this objective needs E[z] of q(z|x): set model.posterior.name=diagonal or full_covariance")
    distances = _from_identity(_covariance(draws.q.mean))
    penalty = hypers["dip_off_diagonal"] * distances[0] + hypers["dip_diagonal"] * distances[1]
    terms = draws.terms
    return Loss(terms["neg_elbo_nats"], terms, {"dip": penalty})


def dip_ii(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise -ELBO + the distance of Cov_q(z)[z] from I (DIP-VAE-II: Kumar et al. 2018, equation 7).

    Cov_q(z)[z] = E_x[Cov_q(z|x)[z]] + Cov_x[E_q[z]]; weights as in dip_i.
    """
    del step
    q = _normal(draws.q)
    within = jnp.diag(jnp.square(q.scale).mean(0))
    distances = _from_identity(within + _covariance(q.loc))
    penalty = hypers["dip_off_diagonal"] * distances[0] + hypers["dip_diagonal"] * distances[1]
    terms = draws.terms
    return Loss(terms["neg_elbo_nats"], terms, {"dip": penalty})


def info_vae(draws: Draws, hypers: Hypers, step: jax.Array, *, kernel: str = "imq") -> Loss:
    """Minimise the distortion + beta KL(q(z|x) || p(z)) + prior_weight MMD(q(z), p(z)) (InfoVAE: Zhao et al. 2019).

    In their letters beta = 1 - alpha and prior_weight = alpha + lambda - 1; beta = 0 is their MMD-VAE.
    """
    del step
    terms, z = draws.terms, draws.z[0]
    distance = mmd(z, draws.prior.sample(draws.key, len(z), 1.0), kernel)
    loss = terms["distortion_nats"] + hypers["beta"] * terms["rate_nats"]
    return Loss(loss, terms, {"mmd": hypers["prior_weight"] * distance})


def _normal(q: Normal) -> Normal:
    if not isinstance(q, Normal):
        raise ConfigError(
            "this objective needs the density of each latent by itself: set model.posterior.name=diagonal"
        )
    return q


def _covariance(codes: jax.Array) -> jax.Array:
    """Return the covariance [D,D] of codes [B,D], with B in the denominator."""
    centred = codes - codes.mean(0)
    return centred.T @ centred / len(codes)


def _from_identity(covariance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the sums of the squares of a matrix less I, off and on the diagonal."""
    diagonal = jnp.diagonal(covariance)
    return jnp.square(covariance).sum() - jnp.square(diagonal).sum(), jnp.square(diagonal - 1).sum()
