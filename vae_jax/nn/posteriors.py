"""q(z|x), from the features of an encoder. Each public function is a `config.model.posterior.name`.

A posterior is a module called as posterior(features [N,F]) -> a distribution of `prob` over z [N,D]; `support` says
where its draws lie, which must be where the prior has its density.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.errors import ConfigError
from vae_jax.nn.flows import Householder, InverseAutoregressive, Planar
from vae_jax.prob.distributions import Flowed, FullNormal, Normal
from vae_jax.prob.one_hot import Joint, OneHot
from vae_jax.prob.sphere import VonMisesFisher


def diagonal(num_features: int, latent: int, rngs: nnx.Rngs) -> nnx.Module:
    """Normal with a diagonal covariance: a learned mean and standard deviation (Kingma and Welling 2014)."""
    return _Diagonal(num_features, latent, rngs)


def full_covariance(num_features: int, latent: int, rngs: nnx.Rngs) -> nnx.Module:
    """Normal with covariance L L^T, L from the encoder (Kingma and Welling 2019, section 2.5.1, algorithm 2)."""
    return _FullCovariance(num_features, latent, rngs)


def planar(num_features: int, latent: int, rngs: nnx.Rngs, *, depth: int = 8) -> nnx.Module:
    """`depth` planar layers, all their parameters from the encoder (Rezende and Mohamed 2015, section 4.1)."""
    return _Flow(num_features, latent, rngs, Planar(num_features, latent, depth, rngs))


def householder(num_features: int, latent: int, rngs: nnx.Rngs, *, depth: int = 8) -> nnx.Module:
    """`depth` reflections, whose vectors are the encoder's (Tomczak and Welling 2016; theirs follow one another)."""
    return _Flow(num_features, latent, rngs, Householder(num_features, latent, depth, rngs))


def iaf(num_features: int, latent: int, rngs: nnx.Rngs, *, depth: int = 2, width: int = 200) -> nnx.Module:
    """`depth` inverse autoregressive layers with one hidden layer of `width` units (Kingma et al. 2016)."""
    return _Flow(num_features, latent, rngs, InverseAutoregressive(num_features, latent, depth, width, rngs))


def von_mises_fisher(num_features: int, latent: int, rngs: nnx.Rngs) -> nnx.Module:
    """On the unit sphere of `latent` dimensions (Davidson et al. 2018); for the prior uniform_sphere."""
    return _VonMisesFisher(num_features, latent, rngs)


def gumbel_softmax(
    num_features: int, latent: int, rngs: nnx.Rngs, *, categories: int = 10, temperature: float = 0.67
) -> nnx.Module:
    """`latent` / `categories` one-hot vectors, straight through (Jang et al. 2017); for uniform_categories."""
    return _Discrete(num_features, latent, categories, temperature, 0, rngs)


def joint(
    num_features: int, latent: int, rngs: nnx.Rngs, *, categories: int = 10, temperature: float = 0.67
) -> nnx.Module:
    """`latent` - `categories` normal numbers and one one-hot vector (Dupont 2018); for the prior joint."""
    return _Discrete(num_features, latent, categories, temperature, latent - categories, rngs)


class _Diagonal(nnx.Module):
    support = "vectors"

    def __init__(self, num_features: int, latent: int, rngs: nnx.Rngs):
        self.loc = nnx.Linear(num_features, latent, rngs=rngs)
        self.log_scale = nnx.Linear(num_features, latent, rngs=rngs)

    def __call__(self, features: jax.Array) -> Normal:
        return Normal(self.loc(features), jnp.exp(self.log_scale(features)))


class _FullCovariance(nnx.Module):
    support = "vectors"

    def __init__(self, num_features: int, latent: int, rngs: nnx.Rngs):
        self.latent = latent
        self.loc = nnx.Linear(num_features, latent, rngs=rngs)
        self.factor = nnx.Linear(num_features, latent * latent, rngs=rngs)

    def __call__(self, features: jax.Array) -> FullNormal:
        raw = self.factor(features).reshape(-1, self.latent, self.latent)
        diagonal = jnp.exp(jnp.diagonal(raw, axis1=-2, axis2=-1))
        return FullNormal(self.loc(features), jnp.tril(raw, -1) + jax.vmap(jnp.diag)(diagonal))


class _Flow(nnx.Module):
    support = "vectors"

    def __init__(self, num_features: int, latent: int, rngs: nnx.Rngs, flow: nnx.Module):
        self.base, self.flow = _Diagonal(num_features, latent, rngs), flow

    def __call__(self, features: jax.Array) -> Flowed:
        return Flowed(self.base(features), self.flow(features))


class _VonMisesFisher(nnx.Module):
    support = "unit vectors"

    def __init__(self, num_features: int, latent: int, rngs: nnx.Rngs):
        if latent < 2:
            raise ConfigError(f"model.latent={latent}: a sphere needs 2 dimensions or more")
        self.direction = nnx.Linear(num_features, latent, rngs=rngs)
        self.concentration = nnx.Linear(num_features, 1, rngs=rngs)

    def __call__(self, features: jax.Array) -> VonMisesFisher:
        direction = self.direction(features)
        direction *= jax.lax.rsqrt(jnp.square(direction).sum(-1, keepdims=True) + 1e-16)  # a norm has no gradient at 0
        # Above 1, as in Davidson et al.'s code: below, the direction means nothing.
        return VonMisesFisher(direction, 1 + jax.nn.softplus(self.concentration(features)[..., 0]))


class _Discrete(nnx.Module):
    """One-hot vectors, behind `num_normal` normal numbers where there are some."""

    def __init__(self, num_features, latent, categories, temperature, num_normal, rngs):
        groups, rest = divmod(latent - num_normal, categories)
        if rest or groups < 1 or num_normal < 0:
            raise ConfigError(f"model.latent={latent} does not hold one-hot vectors of {categories} categories")
        self.groups, self.categories, self.temperature = groups, categories, temperature
        self.support = f"one-hot vectors of {categories}"
        self.logits = nnx.Linear(num_features, groups * categories, rngs=rngs)
        self.normal = _Diagonal(num_features, num_normal, rngs) if num_normal else None
        if num_normal:
            self.support = f"vectors with a one-hot part of {categories}"

    def __call__(self, features: jax.Array) -> OneHot | Joint:
        hot = OneHot(self.logits(features).reshape(-1, self.groups, self.categories), self.temperature)
        return Joint(self.normal(features), hot) if self.normal is not None else hot
