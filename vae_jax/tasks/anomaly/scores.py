"""Anomaly scores of a trained model; `scores_of` lists them.

Each takes what the model makes of normal training pictures and of normal held-out ones, and returns a function of what
it makes of other pictures: [N], higher where they are more anomalous. Likelihoods are in nats per picture.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vae_jax.evaluation.baselines import fit_pca
from vae_jax.evaluation.summary import SEED
from vae_jax.trained import Trained

_BACKGROUND = 8  # components of the background model
_MUTATED = 0.3  # share of the pixels that its training pictures lose
_SMOOTH = 1.0  # pixels, the standard deviation of the window that residuals are smoothed with
_COMPONENTS = 10  # of the mixture of the codes, at most


class Seen(NamedTuple):
    """What a model makes of pictures. The likelihoods are None where it has none."""

    images: np.ndarray  # [N,H,W,C]
    codes: np.ndarray  # [N,D], the posterior means
    residuals: np.ndarray  # [N,H,W,C], the reconstruction from these less the picture
    neg_elbo: np.ndarray | None = None  # [N]
    nll: np.ndarray | None = None  # [N], the importance-weighted -log p(x)


Score = Callable[[Seen], np.ndarray]


def look(
    trained: Trained,
    images: np.ndarray,
    num_samples: int = 0,
    num_draws: int = 1,
    index: np.ndarray | None = None,
) -> Seen:
    """Return what a model makes of pictures [N,H,W,C]; the likelihoods only where `num_samples` is not 0.

    Args:
        trained: the model.
        images: [N,H,W,C] in [0, 1], see `Trained.prepared`.
        num_samples: importance samples k of -log p(x).
        num_draws: draws of z that the -ELBO is averaged over.
        index: [N], what keys the noise, see `Trained.evaluate`.
    """
    codes = trained.encode(images)
    seen = Seen(images, codes, trained.decode(codes) - images)
    if trained.model.log_weights is None or not num_samples:
        return seen
    nll = trained.neg_log_likelihood(images, num_samples=num_samples, index=index)
    draws = [trained.evaluate(images, index=index, seed=SEED + i)["neg_elbo_nats"] for i in range(num_draws)]
    return seen._replace(neg_elbo=np.mean(draws, axis=0), nll=nll)


def smooth_squares(residuals: np.ndarray) -> np.ndarray:
    """Return the sum of squares [N] of residuals [N,H,W,C], smoothed; beyond the picture there are none."""
    from scipy.ndimage import gaussian_filter

    return np.square(gaussian_filter(residuals, (0, _SMOOTH, _SMOOTH, 0), mode="constant")).sum((1, 2, 3))


def reconstruction_error(train: Seen, held_out: Seen) -> Score:
    """The squared error |x* - x|^2, summed over the pixels (Sakurada and Yairi 2014)."""
    del train, held_out
    return lambda seen: np.square(seen.residuals).sum((1, 2, 3))


def smooth_error(train: Seen, held_out: Seen) -> Score:
    """The squared error of the residual x* - x smoothed by a Gaussian of one pixel, summed over the pixels.

    Edges that are a fraction of a pixel off leave residuals of both signs side by side, which cancel; what is missing
    or too much as a whole does not.
    """
    del train, held_out
    return lambda seen: smooth_squares(seen.residuals)


def neg_elbo(train: Seen, held_out: Seen) -> Score:
    """The negative evidence lower bound."""
    del train, held_out
    return lambda seen: seen.neg_elbo


def neg_log_likelihood(train: Seen, held_out: Seen) -> Score:
    """The importance-weighted -log p(x) (Burda et al. 2016, equation 8)."""
    del train, held_out
    return lambda seen: seen.nll


def likelihood_ratio(train: Seen, held_out: Seen) -> Score:
    """The log-likelihood ratio log p_background(x) - log p(x) (Ren et al. 2019, equation 5).

    The background is what perturbed pictures have in common with normal ones. As in their section 4 its model is fitted
    to normal pictures of which each pixel is replaced with probability 0.3 by a uniform random value; unlike theirs it
    is probabilistic PCA with 8 components, in closed form.
    """
    del held_out
    rng = np.random.default_rng(0)
    mutated = rng.random(train.images.shape) < _MUTATED
    background = fit_pca(np.where(mutated, rng.random(train.images.shape), train.images), _BACKGROUND)
    return lambda seen: seen.nll - background.neg_log_likelihood(seen.images)


def typicality(train: Seen, held_out: Seen) -> Score:
    """How far -log p(x) is from its mean over held-out normal pictures, on either side.

    The test of Nalisnick et al. (2019), equation 4, for a batch of one picture.
    """
    del train
    entropy = held_out.nll.mean()
    return lambda seen: np.abs(seen.nll - entropy)


def prior_density(train: Seen, held_out: Seen) -> Score:
    """-log p(z) of the code under the prior N(0, I), up to a constant: |z|^2 / 2."""
    del train, held_out
    return lambda seen: np.square(seen.codes).sum(axis=1) / 2


def latent_density(train: Seen, held_out: Seen) -> Score:
    """-log q(z) of the code under a mixture of ten Gaussians with full covariances, fitted to the training codes.

    A stand-in for the aggregate posterior (Zong et al. 2018 use such a mixture as the energy of a code).
    """
    del held_out
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    components = min(_COMPONENTS, max(1, len(train.codes) // (10 * train.codes.shape[1])))  # of ten examples a latent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 50 iterations are what is meant
        fitted = GaussianMixture(components, reg_covar=1e-3, max_iter=50, random_state=0).fit(train.codes)
    return lambda seen: -fitted.score_samples(seen.codes)


def latent_centre_distance(train: Seen, held_out: Seen) -> Score:
    """The squared distance |phi(x) - c|^2 of the code from the mean training code c.

    The score of Deep SVDD (Ruff et al. 2018, equation 6) with the trained encoder as phi. Their objective, which
    contracts the codes, is not trained.
    """
    del held_out
    centre = train.codes.mean(axis=0)
    return lambda seen: np.square(seen.codes - centre).sum(axis=1)


_OF_ANY = (reconstruction_error, smooth_error, latent_density, latent_centre_distance)  # of an autoencoder too
_OF_LIKELIHOODS = (neg_elbo, neg_log_likelihood, likelihood_ratio, typicality)


def scores_of(trained: Trained) -> dict[str, Callable[[Seen, Seen], Score]]:
    """Return the scores that a model has, by name, still to be fitted."""
    found = _OF_ANY if trained.model.log_weights is None else _OF_ANY + _OF_LIKELIHOODS
    if trained.model.log_weights and (trained.config["model"].get("prior") or {}).get("name") == "standard_normal":
        found += (prior_density,)
    return {fit.__name__: fit for fit in found}
