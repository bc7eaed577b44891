"""Ways to draw new pictures from a trained model, whatever it is. Each public function is a `--sampler`.

A sampler is called as sampler(trained, train, wanted) -> mean pictures [N,H,W,C], where `train` holds training
pictures as the model sees them, image [M,H,W,C] and label [M]. All but the prior fit a density to the codes of these
pictures, to one draw of q(z|x) of each where the encoder is not deterministic (Dai and Wipf 2019, section 4), and
decode what is drawn from it. Of a conditional model the codes of each label have a density of their own. The codes of
a GAN are those of its discriminator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from vae_jax.errors import ConfigError
from vae_jax.evaluation.fidelity import moments
from vae_jax.evaluation.generation import nearest
from vae_jax.tasks import densities
from vae_jax.trained import Trained

Train = Mapping[str, np.ndarray]
Density = Callable[[np.ndarray, int, float, int], np.ndarray]  # (codes [M,D], num, temperature, seed) -> [num,D]


class Wanted(NamedTuple):
    """What to draw."""

    num: int
    label: int | None = None  # None of a conditional model: all its labels in turn
    temperature: float = 1.0  # standard deviation of the noise that a picture is made from
    seed: int = 0


def prior(trained: Trained, train: Train | None, wanted: Wanted) -> np.ndarray:
    """The prior that the model was trained with; it needs no data."""
    del train
    return trained.sample(*wanted)


def gaussian(trained: Trained, train: Train, wanted: Wanted) -> np.ndarray:
    """A normal distribution with a full covariance (Ghosh et al. 2020, section 4)."""
    return _fitted(densities.gaussian, trained, train, wanted)


def gmm(trained: Trained, train: Train, wanted: Wanted) -> np.ndarray:
    """A mixture of 10 normal distributions with full covariances (Ghosh et al. 2020, section 4)."""
    return _fitted(densities.gmm, trained, train, wanted)


def flow(trained: Trained, train: Train, wanted: Wanted) -> np.ndarray:
    """A normalizing flow of affine coupling layers (Dinh et al. 2017), trained on the codes in some seconds."""
    _refuse_labels(trained, "flow")
    return _fitted(densities.flow, trained, train, wanted)


def two_stage(trained: Trained, train: Train, wanted: Wanted) -> np.ndarray:
    """A second VAE, of the codes (Dai and Wipf 2019, section 4), trained on them in some seconds."""
    _refuse_labels(trained, "two_stage")
    return _fitted(densities.two_stage, trained, train, wanted)


def nearest_posterior(trained: Trained, train: Train, wanted: Wanted) -> np.ndarray:
    """A draw of q(z|x), x the training picture whose code is nearest to a draw of `gaussian`.

    Nearest in the metric of the covariance of the codes. So no code is far from those that the decoder has learned;
    where the encoder is deterministic, what is drawn are reconstructions of training pictures.
    """
    labels = train["label"] if trained.conditional else None
    means, draws = trained.encode(train["image"], labels), _draws(trained, train, wanted)

    def codes(rows: np.ndarray, num: int, seed: int) -> np.ndarray:
        centre, root = moments(means[rows])
        noise = wanted.temperature * np.random.default_rng(seed).normal(size=(num, len(root)))
        return draws[rows][nearest(noise, (means[rows] - centre) @ np.linalg.pinv(root))[0]]

    return _decoded(trained, train, wanted, codes)


def _fitted(density: Density, trained: Trained, train: Train, wanted: Wanted) -> np.ndarray:
    draws = _draws(trained, train, wanted)
    return _decoded(trained, train, wanted, lambda rows, num, seed: density(draws[rows], num, wanted.temperature, seed))


def _draws(trained: Trained, train: Train, wanted: Wanted) -> np.ndarray:
    labels = train["label"] if trained.conditional else None
    return trained.draw(train["image"], labels, wanted.seed, np.arange(len(train["image"])))


def _decoded(
    trained: Trained, train: Train, wanted: Wanted, codes: Callable[[np.ndarray, int, int], np.ndarray]
) -> np.ndarray:
    """Return the pictures of codes(rows, num, seed) [num,D], by label where the model is conditional.

    Rows [M] tell which training pictures the codes are to be like.

    Raises:
        ConfigError: the model knows no labels, or has seen too few pictures of one.
    """
    known, num = train["label"] if trained.conditional else np.zeros(len(train["image"]), np.int32), wanted.num
    if not trained.conditional and wanted.label is not None:
        raise ConfigError(f"label {wanted.label}: this model was not given labels (model.condition=False)")
    count = trained.spec.num_classes if trained.conditional else 1
    asked = np.arange(num) % count if wanted.label is None else np.full(num, wanted.label)
    drawn = np.empty((num, trained.config["model"]["latent"]), np.float32)
    for label in np.unique(asked):
        rows, where = known == label, asked == label
        if rows.sum() < 2:
            raise ConfigError(f"{rows.sum()} training pictures of label {label} are too few to fit a density to")
        drawn[where] = codes(rows, where.sum(), (wanted.seed + int(label)) % 2**32)
    return trained.decode(drawn, asked if trained.conditional else None)


def _refuse_labels(trained: Trained, name: str) -> None:
    if trained.conditional:
        raise ConfigError(
            f"--sampler={name} trains one density, and a conditional model (model.condition=True) needs one for each "
            "label; take --sampler=gmm or gaussian"
        )
