"""What may stand beside what in a model: pixels and likelihoods, posteriors and priors, labels and conditions.

`latent_variable` checks all of this for the networks of a VAE, and makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from vae_jax.build import build
from vae_jax.errors import ConfigError
from vae_jax.nn.latent_variable import LatentVariable
from vae_jax.types import Spec, Values

_PIXELS = {"binary": "0 and 1", "levels": "k/255", "unit": "any value in [0, 1]"}
_MADE_BY = {"binary": "dynamic, static or threshold", "levels": "uint8"}  # data.pixels


def latent_variable(
    spec: Spec,
    latent: int,
    num_labels: int = 0,
    *,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    posterior: Mapping[str, Any],
    prior: Mapping[str, Any],
    likelihood: Mapping[str, Any],
) -> Callable[[Any], LatentVariable]:
    """Return a function of `nnx.Rngs` that makes the networks of a VAE out of these components.

    Args:
        spec: shape, mean, kind of values and number of the data.
        latent: D, the size of z.
        num_labels: how many classes encoder and decoder are told.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        posterior: a component of `nn.posteriors`.
        prior: a component of `nn.priors`.
        likelihood: a component of `prob.likelihoods`.

    Raises:
        ConfigError: the likelihood does not take the pixels; from the function: the prior does not take the draws.
    """
    observe = build("prob.likelihoods", likelihood)()
    check_pixels(likelihood["name"], observe.support, spec.values)
    homes = {"nn.encoders": encoder, "nn.decoders": decoder, "nn.posteriors": posterior, "nn.priors": prior}
    parts = [build(home, given) for home, given in homes.items()]

    def networks(rngs: Any) -> LatentVariable:
        net = LatentVariable(spec, num_labels, latent, observe, *parts, rngs)
        _check_codes(posterior["name"], prior["name"], net.posterior.support, net.prior.support)
        return net

    return networks


def check_pixels(name: str, support: Values, values: Values | None) -> None:
    """Compare what a likelihood called `name` takes with the kind of pixels that the data have.

    Raises:
        ConfigError: it does not take them.
    """
    kinds = get_args(Values)
    if values is not None and kinds.index(values) > kinds.index(support):
        raise ConfigError(
            f"model.likelihood.name={name!r} takes pixels of {_PIXELS[support]}, and the data have {_PIXELS[values]}; "
            f"set data.pixels to {_MADE_BY[support]}, or take another likelihood, such as gaussian_shared_scale"
        )


def num_labels(spec: Spec, condition: bool) -> int:
    """Return how many classes a model is told: 0 without `condition`.

    Raises:
        ConfigError: it is to be told labels, and the data have none.
    """
    if condition and not spec.num_classes:
        raise ConfigError("model.condition=True needs labels, and the data have none")
    return spec.num_classes if condition else 0


def check_samples(distance: str, colour_only: bool) -> None:
    """Refuse a distance that says nothing of brightness for a model that makes pictures.

    Raises:
        ConfigError: it is such a one.
    """
    if colour_only:
        raise ConfigError(f"model.distance.name={distance!r} leaves the brightness of samples open; take mae")


def _check_codes(posterior: str, prior: str, found: str, expected: str) -> None:
    if found != expected:
        raise ConfigError(
            f"model.posterior.name={posterior!r} draws {found}, and model.prior.name={prior!r} is over {expected}"
        )
