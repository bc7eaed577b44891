"""Densities around a mean, which the first map is: normal, with four kinds of standard deviation, and Laplace."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from vae_jax.prob.distributions import LOG_2PI
from vae_jax.prob.likelihoods import Likelihood
from vae_jax.prob.pixels import first_map, inverse_softplus, sum_pixels, unchanged


def gaussian(*, scale: float = 1.0) -> Likelihood:
    """Normal with one fixed standard deviation for all pixels: the squared error / 2 scale^2, plus its constants."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        return _normal(x, maps[..., 0], jnp.log(scale))

    return Likelihood("unit", 1, {}, unchanged, log_prob, first_map)


def gaussian_shared_scale(*, min_scale: float = 0.01) -> Likelihood:
    """Normal with one learned standard deviation for all pixels (Rybkin et al. 2021).

    The scale is min_scale + softplus(s), so a picture that is matched exactly cannot send the density to infinity.
    """

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        return _normal(x, maps[..., 0], jnp.log(min_scale + jax.nn.softplus(shared["raw_scale"])))

    return Likelihood("unit", 1, {"raw_scale": inverse_softplus(0.3)}, unchanged, log_prob, first_map)


def gaussian_optimal(*, min_scale: float = 0.01) -> Likelihood:
    """Normal with the one standard deviation that is best for the data (Rybkin et al. 2021, optimal sigma-VAE).

    For given means the likelihood is largest where the variance is the mean squared error, and is then
    -P/2 log(2 pi e mse) of P pixels. Theirs is the error of the batch at hand, through which the gradient passes; here
    it is the moving average over the batches of training, and none passes. Where the two are equal so are the
    gradients, and the value of a picture does not depend on the others of its batch. The scale is at least `min_scale`.
    """

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        return _normal(x, maps[..., 0], 0.5 * jnp.log(jnp.maximum(shared["variance"], min_scale**2)))

    def fit(maps: jax.Array, x: jax.Array) -> dict[str, jax.Array]:
        return {"variance": jnp.square(x - maps[..., 0]).mean()}

    fitted = {"variance": 0.1}
    return Likelihood("unit", 1, {}, unchanged, log_prob, first_map, fitted=fitted, fit=fit)


def gaussian_pixel_scale(*, min_scale: float = 0.05) -> Likelihood:
    """Normal whose decoder gives a mean and a standard deviation min_scale + softplus(s) for every pixel.

    Pixels that are constant in the data drive their scale to `min_scale`: the figure in nats depends on it.
    """

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        return _normal(x, maps[..., 0], jnp.log(min_scale + jax.nn.softplus(maps[..., 1])))

    return Likelihood("unit", 2, {}, unchanged, log_prob, first_map)


def laplace(*, scale: float = 0.1) -> Likelihood:
    """Laplace with one fixed scale b: log p = -|x - m| / b - log 2b, a mean absolute error with its constants."""

    def log_prob(maps: jax.Array, shared: dict, x: jax.Array) -> jax.Array:
        del shared
        return sum_pixels(-jnp.abs(x - maps[..., 0]) / scale - math.log(2 * scale))

    return Likelihood("unit", 1, {}, unchanged, log_prob, first_map)


def _normal(x: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
    return sum_pixels(-0.5 * jnp.square((x - loc) * jnp.exp(-log_scale)) - log_scale - 0.5 * LOG_2PI)
