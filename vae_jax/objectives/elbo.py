"""The evidence lower bound."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vae_jax.prob.distributions import kl
from vae_jax.types import Draws, Hypers


def elbo(draws: Draws, hypers: Hypers, step: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return -E_q[log p(x|z)] + w KL(q(z|x) || p(z)) per example (Kingma and Welling 2014, equation 7).

    The KL divergence is exact, the expectation a mean over the K draws. w rises linearly from 0 to `beta` during
    `kl_warmup_steps` steps; `beta` multiplies the KL divergence as in Higgins et al. (2017), equation 4. The terms
    logged are always those of the plain bound, w = 1.
    """
    distortion = -draws.log_px.mean(0)
    rate = kl(draws.q, draws.prior)
    warmth = jnp.minimum((step + 1) / jnp.maximum(hypers["kl_warmup_steps"], 1), 1)
    terms = {"neg_elbo_nats": distortion + rate, "distortion_nats": distortion, "rate_nats": rate}
    return distortion + hypers["beta"] * warmth * rate, terms
