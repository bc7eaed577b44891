"""One-class detection, the protocol of Ruff et al. (2018): for every class a model that has seen nothing else.

A class's model is trained on its training pictures and selected by its validation pictures. These held-out normal
pictures give the threshold, and anomalies made from them choose the score. The test split is then scored whole: the
pictures of the class are normal, all others anomalies. Test labels enter the figures and nothing before.
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.data.dataset import Dataset, described, sha256
from vae_jax.data.feed import make_feed, make_spec
from vae_jax.errors import ConfigError
from vae_jax.evaluation.detection import bootstrap_weights, detection_figures, weighted_share, with_intervals
from vae_jax.evaluation.splits import seen
from vae_jax.evaluation.summary import SEED
from vae_jax.results import check_data
from vae_jax.storage import write_json
from vae_jax.streams import stream
from vae_jax.tasks.anomaly.baselines import fit_baselines
from vae_jax.tasks.anomaly.report import draw
from vae_jax.tasks.anomaly.scores import Seen, look, scores_of
from vae_jax.tasks.anomaly.synthetic import SYNTHETIC
from vae_jax.trained import Trained, make_model
from vae_jax.training.folder import read_manifest
from vae_jax.training.manifest import make_manifest
from vae_jax.training.members import Callbacks, Member, best_of_members

RESULTS = "one_class.json"
QUANTILE = 0.95  # of the held-out normal scores is the threshold
_RESAMPLES = 300


class Scored(NamedTuple):
    """What a class's model and the baselines say of the test pictures. No label of theirs had a part in it."""

    scores: dict[str, np.ndarray]  # by name, each [N]
    thresholds: dict[str, float]
    synthetic: dict[str, float]  # AUROC of synthetic anomalies against held-out normal pictures, by score of the model


def run(
    config: Mapping[str, Any], dataset: Dataset, folder: pathlib.Path, sequential: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train, score and measure every class; write one_class.json, the manifest and pictures, return the results.

    A finished folder gives its results back. An interrupted run starts again from the beginning.

    Args:
        config: a resolved config.
        dataset: its data.
        folder: a run folder that is held open.
        sequential: see `train_classes`.
        say: is told of progress.

    Raises:
        ConfigError: see `check` and `train_classes`.
        DataError: the data are not those of the run.
    """
    began = time.monotonic()
    check(config, dataset)
    _record(config, dataset, folder)
    if (folder / RESULTS).exists():
        say(f"{folder} holds this run, finished")
        return json.loads((folder / RESULTS).read_text())
    models, seconds = train_classes(config, dataset, sequential, say)
    normal, pictures = normal_and_test(config, dataset)
    num_samples, scored = config["evaluate"]["num_importance_samples"], []
    for number, (trained, known) in enumerate(zip(models, normal, strict=True)):
        scored.append(score_class(trained, known["train"], known["held_out"], pictures, num_samples))
        say(f"class {number} scored")
    chosen, synthetic = choose(scored)
    labels = dataset.splits["test"].labels
    results = {
        "chosen": chosen,
        "synthetic_auroc": synthetic,
        "threshold_quantile": QUANTILE,
        "num_test": len(labels),
        "num_train": [len(known["train"]) for known in normal],
        "nll_num_samples": num_samples,
        "training": {"models": len(models), "sequential": sequential, "seconds": seconds},
        "scores": measure(scored, labels),
    }
    results["seconds_total"] = time.monotonic() - began
    draw(folder / "pictures", chosen, [one.scores[chosen] for one in scored], pictures, labels)
    write_json(folder / RESULTS, results)
    return results


def check(config: Mapping[str, Any], dataset: Dataset) -> None:
    """Refuse what has no classes to take apart, and models that must be told the class.

    Raises:
        ConfigError: naming the reason.
    """
    if dataset.num_classes < 2:
        raise ConfigError(f"one-class detection needs data with two classes or more; {dataset.name!r} has no labels")
    missing = sorted(set(range(dataset.num_classes)) - set(dataset.splits["test"].labels.tolist()))
    if missing:
        raise ConfigError(f"class {missing[0]} of {dataset.name!r} has no test picture, and each is to be normal once")
    if config["model"].get("condition"):
        raise ConfigError("a model of one class is told no label; set model.condition=False")


def train_classes(
    config: Mapping[str, Any], dataset: Dataset, sequential: bool, say: Callable[[str], None]
) -> tuple[list[Trained], float]:
    """Return the model of every class, in order, and the seconds that training them took.

    Args:
        config: a resolved config, of each model.
        dataset: with labels.
        sequential: one after another, each in a program of its own, instead of all in one.
        say: is told of progress.

    Raises:
        ConfigError: a class has too few pictures.
        Diverged: naming the class as the number of a member.
    """
    feeds = {split: make_feed(config["data"], dataset, split) for split in ("train", "validation")}
    where = [[np.flatnonzero(dataset.splits[s].labels == c) for s in feeds] for c in range(dataset.num_classes)]
    # Nothing may come from other classes: the mean picture, at which decoders start, is left at black. The number of
    # examples is part of the one program for all, so it is the mean of theirs.
    spec = make_spec(dataset, config["data"]["pixels"])
    size = round(np.mean([len(train) for train, _ in where]))
    spec = spec._replace(mean=np.zeros_like(spec.mean), num_examples=size)
    model = make_model(config, spec)
    members = [Member(config["seed"] + number, *of) for number, of in enumerate(where)]
    began, found = time.monotonic(), []
    for group in [[member] for member in members] if sequential else [members]:
        callbacks = Callbacks(write=_telling(say), say=say)
        best = best_of_members(model, config, feeds, group, stream(SEED, "evaluate"), callbacks)
        found += [Trained(config, spec, model, one["params"], one["stats"]) for one in best]
    jax.block_until_ready([trained.params for trained in found])
    return found, time.monotonic() - began


def normal_and_test(config: Mapping[str, Any], dataset: Dataset) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Return the normal pictures of every class, train and held_out [N,H,W,C], and all test pictures, in order."""
    feeds = {split: make_feed(config["data"], dataset, split) for split in dataset.splits}
    views = {split: seen(feed, dataset.shape, None, ("image",))["image"] for split, feed in feeds.items()}
    names = {"train": "train", "held_out": "validation"}
    normal = [
        {name: views[split][dataset.splits[split].labels == number] for name, split in names.items()}
        for number in range(dataset.num_classes)
    ]
    return normal, views["test"]


def score_class(
    trained: Trained, train: np.ndarray, held_out: np.ndarray, pictures: np.ndarray, num_samples: int
) -> Scored:
    """Score pictures by all that normal pictures, train and held out, can be taken to tell; all are [N,H,W,C]."""

    def measured(images: np.ndarray) -> Seen:
        return look(trained, images, num_samples, index=np.arange(len(images)))

    known, normal, asked = look(trained, train), measured(held_out), measured(pictures)
    made = [measured(make(held_out)) for make in SYNTHETIC]
    scores, thresholds, synthetic = {}, {}, {}
    for name, fit in scores_of(trained).items():
        score = fit(known, normal)
        usual, scores[name] = score(normal), score(asked)
        thresholds[name] = float(np.quantile(usual, QUANTILE))
        synthetic[name] = float(np.mean([_auroc(usual, score(anomalies)) for anomalies in made]))
    for name, baseline in fit_baselines(train, held_out).items():
        scores[name], thresholds[name] = baseline(pictures), float(np.quantile(baseline(held_out), QUANTILE))
    return Scored(scores, thresholds, synthetic)


def choose(scored: Sequence[Scored]) -> tuple[str, dict[str, float]]:
    """Return the score that tells synthetic anomalies best, and the mean AUROC over classes of each, in percent."""
    means = {name: 100 * float(np.mean([one.synthetic[name] for one in scored])) for name in scored[0].synthetic}
    return max(means, key=means.__getitem__), means


def measure(scored: Sequence[Scored], labels: np.ndarray) -> dict[str, Any]:
    """Return the figures of every score with intervals: the mean over classes, and of each class.

    All are shares in [0, 1]; `flagged_normal` and `flagged_anomalies` are those of the test pictures above the
    threshold. The resamples of the test split are the same for all scores and classes.
    """
    weights, found = bootstrap_weights(len(labels), _RESAMPLES), {}
    for name in scored[0].scores:
        classes = []
        for number, one in enumerate(scored):
            flagged, anomalous = one.scores[name] > one.thresholds[name], labels != number
            kinds = {"flagged_normal": ~anomalous, "flagged_anomalies": anomalous}
            shares = {key: weighted_share(flagged, kind, weights) for key, kind in kinds.items()}
            classes.append(detection_figures(one.scores[name], anomalous, weights) | shares)
        mean = {key: np.mean([figures[key] for figures in classes], axis=0) for key in classes[0]}
        found[name] = {"mean": with_intervals(mean), "classes": [with_intervals(figures) for figures in classes]}
    return found


def _record(config: Mapping[str, Any], dataset: Dataset, folder: pathlib.Path) -> None:
    """Write manifest.json of a run that starts, maybe again, after comparing the data with those of the run before."""
    if (folder / "manifest.json").exists():
        check_data(read_manifest(folder), sha256(dataset))
    if not (folder / RESULTS).exists():
        write_json(folder / "manifest.json", make_manifest(config, described(dataset)))


def _auroc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    truth = np.arange(len(normal) + len(anomalous)) >= len(normal)
    return float(detection_figures(np.concatenate([normal, anomalous]), truth, np.ones((1, len(truth))))["auroc"][0])


def _telling(say: Callable[[str], None]) -> Callable[..., None]:
    losses = {}

    def write(step: int, split: str, rows: Mapping[int, Mapping[str, float]]) -> None:
        losses[split] = np.mean([row["loss"] for row in rows.values()])
        if split == "validation":
            say(f"step {step}  training loss {losses['train']:.4g}  held out {losses[split]:.4g}  (mean over models)")

    return write
