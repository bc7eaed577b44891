"""p(z). Each public function is a `config.model.prior.name`.

A prior is a module called as prior(posterior_of) -> a distribution of `prob` over z [D], where posterior_of maps
pictures [M,H,W,C] to q(z|x); `support` says where it has its density. `mean` is the mean training picture [H,W,C].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vae_jax.errors import ConfigError
from vae_jax.nn.coupling import Coupling
from vae_jax.prob import distributions
from vae_jax.prob.distributions import Mixture, Normal, Transformed
from vae_jax.prob.one_hot import Joint, uniform
from vae_jax.prob.sphere import UniformSphere


def standard_normal(latent: int, mean: np.ndarray, rngs: nnx.Rngs) -> nnx.Module:
    """N(0, I): nothing to learn."""
    del mean, rngs
    return _Fixed(lambda: distributions.standard_normal(latent), "vectors")


def mixture(latent: int, mean: np.ndarray, rngs: nnx.Rngs, *, components: int = 10) -> nnx.Module:
    """A learned mixture of `components` normals with diagonal covariances (VaDE: Jiang et al. 2017, section 3.1)."""
    del mean
    return _Mixture(latent, components, rngs)


def vamp(latent: int, mean: np.ndarray, rngs: nnx.Rngs, *, components: int = 500) -> nnx.Module:
    """The mean of q(z|u) over `components` learned pictures u (Tomczak and Welling 2018, equation 9).

    u is the sigmoid of what is learned, where theirs is clipped; it starts around the mean picture.
    """
    del latent
    return _Vamp(mean, components, rngs)


def flow(latent: int, mean: np.ndarray, rngs: nnx.Rngs, *, depth: int = 4, width: int = 100) -> nnx.Module:
    """What `depth` affine coupling layers make of N(0, I) (Dinh et al. 2017, equation 7; Chen et al. 2017)."""
    del mean
    return _Flow(latent, depth, width, rngs)


def uniform_sphere(latent: int, mean: np.ndarray, rngs: nnx.Rngs) -> nnx.Module:
    """Uniform on the unit sphere of `latent` dimensions (Davidson et al. 2018)."""
    del mean, rngs
    return _Fixed(lambda: UniformSphere(latent), "unit vectors")


def uniform_categories(latent: int, mean: np.ndarray, rngs: nnx.Rngs, *, categories: int = 10) -> nnx.Module:
    """Uniform over `latent` / `categories` one-hot vectors (Jang et al. 2017)."""
    del mean, rngs
    return _Fixed(lambda: uniform(latent // categories, categories), f"one-hot vectors of {categories}")


def joint(latent: int, mean: np.ndarray, rngs: nnx.Rngs, *, categories: int = 10) -> nnx.Module:
    """N(0, I) over `latent` - `categories` numbers, uniform over one one-hot vector (Dupont 2018)."""
    del mean, rngs

    def parts() -> Joint:
        return Joint(distributions.standard_normal(latent - categories), uniform(1, categories))

    return _Fixed(parts, f"vectors with a one-hot part of {categories}")


class _Fixed(nnx.Module):
    def __init__(self, distribution: Callable[[], Any], support: str):
        # A function, lest Flax take its arrays for parameters, or those of a traced construction be kept.
        self.support, self.distribution = support, distribution

    def __call__(self, posterior_of: Callable[[jax.Array], Any]) -> Any:
        del posterior_of
        return self.distribution()


class _Mixture(nnx.Module):
    support = "vectors"

    def __init__(self, latent: int, components: int, rngs: nnx.Rngs):
        self.log_weights = nnx.Param(jnp.zeros(components))
        self.loc = nnx.Param(jax.random.normal(rngs.params(), (components, latent)))
        self.log_scale = nnx.Param(jnp.zeros((components, latent)))

    def __call__(self, posterior_of: Callable[[jax.Array], Any]) -> Mixture:
        del posterior_of
        return Mixture(self.log_weights[...], Normal(self.loc[...], jnp.exp(self.log_scale[...])))


class _Vamp(nnx.Module):
    support = "vectors"

    def __init__(self, mean: np.ndarray, components: int, rngs: nnx.Rngs):
        start = jnp.asarray(distributions.clipped_logit(mean), jnp.float32)
        self.pictures = nnx.Param(start + jax.random.normal(rngs.params(), (components, *mean.shape)))

    def __call__(self, posterior_of: Callable[[jax.Array], Any]) -> Mixture:
        parts = posterior_of(jax.nn.sigmoid(self.pictures[...]))
        if not isinstance(parts, Normal):
            raise ConfigError("model.prior.name='vamp' mixes normals: it needs model.posterior.name=diagonal")
        return Mixture(jnp.zeros(len(parts.loc)), parts)


class _Flow(nnx.Module):
    support = "vectors"

    def __init__(self, latent: int, depth: int, width: int, rngs: nnx.Rngs):
        self.latent, self.coupling = latent, Coupling(latent, depth, width, rngs)

    def __call__(self, posterior_of: Callable[[jax.Array], Any]) -> Transformed:
        del posterior_of
        return Transformed(self.latent, self.coupling.forward, self.coupling.inverse)
