"""Ada-GVAE: a VAE told which pictures share factors, but not which factors (Locatello et al. 2020).

Training shows pairs of pictures that differ in few factors (`data.pairs`). A latent i in which their posteriors are
close, delta_i = KL(q(z_i|x1) || q(z_i|x2)) below tau = (max_i delta_i + min_i delta_i) / 2, is taken for shared: both
posteriors of it are replaced by their average, the mean of the means and the mean of the variances (Hosoya 2019). Then

    loss = mean over the two pictures of E[-log p(x|z)] + beta KL(q(z|x) || p(z)).

No gradient flows through the choice of what is shared. A batch without partners is of pictures that are each other's
own: they share everything, and the loss is that of a plain VAE. So is evaluation, which is of single pictures.

Departure from the paper: its sum over the two pictures is a mean here, so that a loss is nats of an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.nn.bind import bind
from vae_jax.nn.latent_variable import views
from vae_jax.prob.distributions import Normal, kl
from vae_jax.support import latent_variable
from vae_jax.types import Draws, Model, Spec


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    prior: Mapping[str, Any],
    likelihood: Mapping[str, Any],
) -> Model:
    """Build an Ada-GVAE, whose posterior is normal with a diagonal covariance; the hyperparameter beta is traced.

    Args:
        spec: shape, mean, kind of values and number of the data.
        latent: D, the size of z.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        prior: a component of `nn.priors`.
        likelihood: a component of `prob.likelihoods`.

    Raises:
        ConfigError: two components, or a component and the data, do not go together.
    """
    parts = {"encoder": encoder, "decoder": decoder, "prior": prior, "likelihood": likelihood}
    network = bind(latent_variable(spec, latent, posterior={"name": "diagonal"}, **parts))

    def measured(draws: Draws, hypers) -> dict[str, jax.Array]:
        terms = draws.terms
        return {"loss": terms["distortion_nats"] + hypers["beta"] * terms["rate_nats"], **terms}

    def loss(params, stats, batch, key, hypers, step):
        del step
        net, pair = network.merge(params, stats), [batch, batch["partner"]] if "partner" in batch else [batch]
        posteriors = [net.q(single) for single in pair]
        if len(pair) == 2:
            posteriors = shared(*posteriors)
        both = [measured(net.draws(x, key, 1, q), hypers) for x, q in zip(pair, posteriors, strict=True)]
        metrics = jax.tree.map(lambda *values: jnp.stack(values).mean(), *both)
        return metrics["loss"], (network.stats(net), metrics)

    def evaluate(params, stats, batch, key, hypers):
        net = network.merge(params, stats)
        return measured(net.draws(batch, key, 1), hypers) | {"mse": net.error(batch)}

    return Model(network.init, loss, evaluate, **views(network))


def shared(one: Normal, other: Normal) -> tuple[Normal, Normal]:
    """Return both posteriors [B,D] with their average in the latents of each pair that are taken for shared."""
    delta = kl(*(Normal(q.loc[..., None], q.scale[..., None]) for q in (one, other)))  # [B,D]: each latent by itself
    close = delta < 0.5 * (delta.max(-1, keepdims=True) + delta.min(-1, keepdims=True))
    loc = 0.5 * (one.loc + other.loc)
    scale = jnp.sqrt(0.5 * (jnp.square(one.scale) + jnp.square(other.scale)))
    return tuple(Normal(jnp.where(close, loc, q.loc), jnp.where(close, scale, q.scale)) for q in (one, other))
