"""The evidence lower bound, and ways to weigh its two terms.

The terms that are logged are always those of the plain bound.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vae_jax.errors import ConfigError
from vae_jax.prob.one_hot import Joint
from vae_jax.types import Draws, Hypers, Loss


def elbo(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise -E_q[log p(x|z)] + w KL(q(z|x) || p(z)) (Kingma and Welling 2014, equation 7).

    The KL divergence is exact where it has a closed form, the expectation a mean over the K draws. w rises linearly
    from 0 to `beta` during `kl_warmup_steps` steps; `beta` multiplies the KL divergence as in Higgins et al. (2017),
    equation 4.
    """
    terms = draws.terms
    warmth = jnp.minimum((step + 1) / jnp.maximum(hypers["kl_warmup_steps"], 1), 1)
    return Loss(terms["distortion_nats"] + hypers["beta"] * warmth * terms["rate_nats"], terms)


def cyclical(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """The ELBO whose weight w starts at 0 again and again (Fu et al. 2019, equations 6 and 7).

    In each cycle of `kl_cycle_steps` steps w rises linearly to `beta` in the first half, and stays there in the second.
    """
    terms = draws.terms
    within = jnp.where(jnp.isinf(step), 1.0, jnp.mod(step, hypers["kl_cycle_steps"]) / hypers["kl_cycle_steps"])
    return Loss(terms["distortion_nats"] + hypers["beta"] * jnp.minimum(2 * within, 1) * terms["rate_nats"], terms)


def capacity(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise the distortion + beta |KL - C| (Burgess et al. 2018, equation 8; their gamma is beta here).

    C rises linearly from 0 to `capacity` nats during `capacity_steps` steps.
    """
    terms = draws.terms
    allowed = hypers["capacity"] * jnp.minimum(step / jnp.maximum(hypers["capacity_steps"], 1), 1)
    return Loss(terms["distortion_nats"] + hypers["beta"] * jnp.abs(terms["rate_nats"] - allowed), terms)


def free_bits(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise the distortion + max(KL, `free_bits`) (the free bits of Kingma et al. 2016).

    All latents are one group here, and the maximum is taken for each example, not of the mean of a minibatch.
    """
    del step
    terms = draws.terms
    return Loss(terms["distortion_nats"] + jnp.maximum(terms["rate_nats"], hypers["free_bits"]), terms)


def joint_capacity(draws: Draws, hypers: Hypers, step: jax.Array) -> Loss:
    """Minimise the distortion + beta (|KL_z - C_z| + |KL_c - C_c|) of a code with a one-hot part c.

    Dupont (2018), equation 7. Both capacities rise linearly during `capacity_steps` steps, C_z to `capacity` and C_c
    to `discrete_capacity`, which is at most log of the number of categories. Needs the posterior and the prior joint.
    """
    if not isinstance(draws.q, Joint) or not isinstance(draws.prior, Joint):
        raise ConfigError("joint_capacity is of two kinds of latents: set model.posterior.name and prior.name to joint")
    terms = draws.terms
    normal, one_hot = draws.q.kl_parts(draws.prior)
    rise = jnp.minimum(step / jnp.maximum(hypers["capacity_steps"], 1), 1)
    away = jnp.abs(normal - rise * hypers["capacity"]) + jnp.abs(one_hot - rise * hypers["discrete_capacity"])
    return Loss(terms["distortion_nats"] + hypers["beta"] * away, terms | {"rate_one_hot_nats": one_hot})
