"""The variational autoencoder: a learned posterior, and the reparameterization (Kingma and Welling 2014).

Posterior, prior, likelihood and objective are components, and any of each goes with any of the others where the prior
has a density at the posterior's draws. With `condition` it is the conditional VAE of Sohn et al. (2015), with one prior
for every label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.build import build
from vae_jax.nn.bind import Network, bind
from vae_jax.nn.latent_variable import INFERENCE, LatentVariable, views
from vae_jax.prob.distributions import Normal
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.support import latent_variable, num_labels
from vae_jax.types import Coding, Loss, Model, Spec, Tree


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    posterior: Mapping[str, Any],
    prior: Mapping[str, Any],
    likelihood: Mapping[str, Any],
    objective: Mapping[str, Any],
    num_samples: int = 1,
    condition: bool = False,
) -> Model:
    """Build a VAE.

    Args:
        spec: shape, classes, mean, kind of values and number of the data.
        latent: D, the size of z.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        posterior: a component of `nn.posteriors`.
        prior: a component of `nn.priors`.
        likelihood: a component of `prob.likelihoods`.
        objective: a component of `objectives`.
        num_samples: K, draws of z per example.
        condition: whether encoder and decoder see the label.

    Raises:
        ConfigError: condition is asked for, but the data have no labels, or two components do not go together.
    """
    observe, bound = build("prob.likelihoods", likelihood)(), build("objectives", objective)
    parts = {"encoder": encoder, "decoder": decoder, "posterior": posterior, "prior": prior, "likelihood": likelihood}
    network = bind(latent_variable(spec, latent, num_labels(spec, condition), **parts))

    def measured(params, stats, batch, key, hypers, step, of_prior=None) -> tuple[LatentVariable, Loss]:
        net = network.merge(params, stats)
        expect = net if of_prior is None else network.merge(of_prior, stats)
        return net, bound(net.draws(batch, key, num_samples, prior=expect.p()), hypers, step)

    def loss(params, stats, batch, key, hypers, step):
        net, found = measured(params, stats, batch, key, hypers, step)
        value = found.per_example.mean() + sum(found.penalties.values())
        metrics = {"loss": value} | jax.tree.map(jnp.mean, found.terms)
        metrics |= {f"penalty_{name}": penalty for name, penalty in found.penalties.items()}
        if found.inference is not None:
            both = _in_two(params, lambda p, of_prior: measured(p, stats, batch, key, hypers, step, of_prior)[1])
            value = jax.lax.stop_gradient(value - both) + both
        return value, (network.stats(net), metrics)

    def evaluate(params, stats, batch, key, hypers):
        net, found = measured(params, stats, batch, key, hypers, jnp.inf)
        return {"loss": found.per_example, **found.terms, "mse": net.error(batch)}

    coding = _coding(network, observe, latent) if observe.digit and _is_normal(network, spec) else None
    return Model(network.init, loss, evaluate, **views(network), coding=coding)


def _in_two(params: Tree, found_of: Callable[[Tree, Tree], Loss]) -> jax.Array:
    """Return a scalar whose gradient is that of `Loss.inference` for q(z|x), of the other loss for p(x, z).

    `found_of` is given the parameters of both, and apart those that the prior is made of: where it looks at pictures
    through the encoder (VampPrior), that encoder is part of p(z).
    """

    def holding(part: bool) -> Tree:
        return {k: jax.lax.stop_gradient(v) if (k in INFERENCE) == part else v for k, v in params.items()}

    generative = found_of(holding(True), params).per_example.mean()
    return generative + found_of(holding(False), jax.lax.stop_gradient(params)).inference.mean()


def _is_normal(network: Network, spec: Spec) -> bool:
    """Tell whether q(z|x) and p(z) are normals with a diagonal covariance, which entropy coding knows how to cut."""
    kinds = []

    def look(key: jax.Array) -> None:
        net = network.merge(*network.init(key))
        batch = {"input": jnp.zeros((1, *spec.shape)), "label": jnp.zeros(1, jnp.int32)}
        kinds.extend([type(net.q(batch)), type(net.p())])

    jax.eval_shape(lambda: look(jax.random.key(0)))
    return kinds == [Normal, Normal]


def _coding(network: Network, observe: Likelihood, latent: int) -> Coding:
    """Return what entropy coding needs: one layer of latents, so nothing is above it."""

    def posterior(params, stats, batch, above):
        del above
        return network.merge(params, stats).q(batch)

    def prior_of(params, stats, label, above):
        del above
        prior = network.merge(params, stats).p()
        return Normal(*(jnp.broadcast_to(value, (len(label), *value.shape)) for value in prior))

    def maps(params, stats, label, latents):
        return network.merge(params, stats).maps(latents[0], label)

    return Coding((latent,), observe.bases, posterior, prior_of, maps, observe.digit)
