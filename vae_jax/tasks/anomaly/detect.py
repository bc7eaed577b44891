"""A saved run as a detector: of a user's own pictures, and of another data set's.

Normal is what the run was trained on: scores are fitted to its training split, the threshold to its validation split.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.build import build
from vae_jax.data.dataset import Dataset
from vae_jax.data.feed import make_feed, make_spec
from vae_jax.errors import ConfigError
from vae_jax.evaluation.detection import bootstrap_weights, detection_figures, quantile_among, with_intervals
from vae_jax.evaluation.splits import seen
from vae_jax.reporting.figures import save_captioned
from vae_jax.support import check_pixels
from vae_jax.tasks.anomaly.baselines import fit_baselines
from vae_jax.tasks.anomaly.one_class import QUANTILE
from vae_jax.tasks.anomaly.scores import Score, Seen, look, scores_of
from vae_jax.tasks.saved import Saved
from vae_jax.types import Values

_NUM_SAMPLES = 50  # importance samples k of -log p(x)
_NUM_DRAWS = 10  # of z, that the -ELBO is averaged over: one is too noisy for a verdict on a single picture
_TRAIN = 5000  # training pictures that scores are fitted to, evenly spaced; as many held-out and test ones at most
_SHOWN, _COLUMNS = 100, 10  # pictures on the contact sheet
_NAME = 16  # characters of a file's name under its picture
_RESAMPLES = 300


class Detector(NamedTuple):
    """A fitted score and what it says of the held-out normal pictures."""

    name: str
    score: Score
    held_out: np.ndarray  # [N]

    @property
    def threshold(self) -> float:
        """The score that 5 % of the held-out normal pictures exceed."""
        return float(np.quantile(self.held_out, QUANTILE))


def default_score(saved: Saved) -> str:
    """Return -ELBO's name where the model has a likelihood, else that of the reconstruction error."""
    return "reconstruction_error" if saved.trained.model.log_weights is None else "neg_elbo"


def make_detector(saved: Saved, name: str) -> Detector:
    """Fit a score to a run's training and validation splits.

    Raises:
        ConfigError: the model does not have this score (some need a likelihood), or needs to be told labels.
    """
    _check(saved)
    available = scores_of(saved.trained)
    if name not in available:
        raise ConfigError(f"--score={name}: the model of this run has no such score; it has {', '.join(available)}")
    train, held_out = _normal(saved)
    score = available[name](train, held_out)
    return Detector(name, score, score(held_out))


def rank(saved: Saved, detector: Detector, images: np.ndarray, paths: Sequence[pathlib.Path]) -> dict[str, Any]:
    """Return what the detector says of pictures [N,H,W,C], the most anomalous first.

    `quantile` is the share of held-out normal pictures with a lower score; `anomalous` whether the score exceeds the
    threshold.
    """
    seen_as = saved.trained.prepared(images)
    _refuse_pixels(saved, "binary" if np.isin(seen_as, (0, 1)).all() else "levels")
    scores = detector.score(_look(saved, seen_as))
    quantiles = quantile_among(detector.held_out, scores)
    ranked = [
        {"path": str(paths[i]), "score": float(scores[i]), "quantile": float(quantiles[i])}
        | {"anomalous": bool(scores[i] > detector.threshold)}
        for i in np.argsort(-scores, kind="stable")
    ]
    found = {"score": detector.name, "threshold": detector.threshold, "threshold_quantile": QUANTILE}
    return found | {"num_held_out": len(detector.held_out), "pictures": ranked}


def save_sheet(path: pathlib.Path, images: np.ndarray, paths: Sequence[pathlib.Path], found: dict[str, Any]) -> None:
    """Write the first 100 pictures of a ranking with name, score and, above the threshold, an exclamation mark."""
    shown, where = found["pictures"][:_SHOWN], {str(path): i for i, path in enumerate(paths)}
    captions = [
        f"{pathlib.Path(one['path']).name[-_NAME:]} {one['score']:.4g}{' !' if one['anomalous'] else ''}"
        for one in shown
    ]
    save_captioned(path, images[[where[one["path"]] for one in shown]], captions, min(_COLUMNS, len(shown)))


def against(saved: Saved, other: Dataset) -> dict[str, Any]:
    """Return how well each score tells the test pictures of another data set from those of the run's own.

    Scores and baselines are fitted to the run's training and validation splits; at most 5000 test pictures of each set
    are taken, evenly spaced.

    Raises:
        ConfigError: the pictures have another shape, the likelihood does not take their pixels, or the model needs to
            be told labels.
    """
    _check(saved)
    if other.shape != saved.dataset.shape:
        raise ConfigError(
            f"pictures of {other.name!r} have the shape {other.shape}, and those of the run {saved.dataset.shape}"
        )
    _refuse_pixels(saved, make_spec(other, saved.trained.config["data"]["pixels"]).values)
    feed = make_feed(saved.trained.config["data"], other, "test")
    strange = seen(feed, other.shape, _TRAIN, ("image",))["image"]
    usual = saved.seen("test", _TRAIN)["image"]
    images, anomalous = np.concatenate([usual, strange]), np.arange(len(usual) + len(strange)) >= len(usual)
    (train, held_out), pictures = _normal(saved), _look(saved, images)
    scores = {name: fit(train, held_out)(pictures) for name, fit in scores_of(saved.trained).items()}
    scores |= {name: score(images) for name, score in fit_baselines(train.images, held_out.images).items()}
    weights = bootstrap_weights(len(images), _RESAMPLES)
    figures = {name: with_intervals(detection_figures(values, anomalous, weights)) for name, values in scores.items()}
    counts = {"num_normal": len(usual), "num_anomalous": len(strange), "nll_num_samples": _NUM_SAMPLES}
    return {"normal": saved.dataset.name, "anomalous": other.name, **counts, "scores": figures}


def against_table(found: dict[str, Any]) -> str:
    """Return the figures of `against` as aligned lines, in percent."""
    rows = [("score", "AUROC", "95 % interval", "AUPR", "FPR95")]
    for name, figures in sorted(found["scores"].items(), key=lambda item: -item[1]["auroc"]):
        low, high = (f"{100 * value:.2f}" for value in figures["auroc_95"])
        numbers = [f"{100 * figures[key]:.2f}" for key in ("auroc", "aupr", "fpr_at_95_tpr")]
        rows.append((name, numbers[0], f"{low}..{high}", *numbers[1:]))
    return "\n".join(f"{a:<24}{b:<8}{c:<18}{d:<8}{e}" for a, b, c, d, e in rows)


def _normal(saved: Saved) -> tuple[Seen, Seen]:
    train, held_out = (saved.seen(split, _TRAIN)["image"] for split in ("train", "validation"))
    return look(saved.trained, train), _look(saved, held_out)


def _look(saved: Saved, images: np.ndarray) -> Seen:
    return look(saved.trained, images, _NUM_SAMPLES, _NUM_DRAWS)


def _check(saved: Saved) -> None:
    if saved.trained.conditional:
        raise ConfigError("the model of this run must be told a picture's label (model.condition=True); take another")


def _refuse_pixels(saved: Saved, values: Values) -> None:
    """Refuse pixels that the likelihood has no probabilities for: nats of them mean nothing beside those of the run."""
    likelihood = saved.trained.config["model"].get("likelihood")
    if likelihood:
        check_pixels(likelihood["name"], build("prob.likelihoods", likelihood)().support, values)
