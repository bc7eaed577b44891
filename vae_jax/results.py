"""The figures and the pictures of trained parameters, with the baselines beside them."""

from __future__ import annotations

import functools
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vae_jax.build import build
from vae_jax.data.dataset import Dataset, sha256
from vae_jax.data.feed import Feed, make_feed
from vae_jax.data.order import steps_per_epoch
from vae_jax.errors import DataError, StorageError
from vae_jax.evaluation.baselines import Pca, fit_pca, num_fitted
from vae_jax.evaluation.judge import conditional_accuracy, train_judge
from vae_jax.evaluation.splits import seen
from vae_jax.evaluation.summary import evaluate_baselines, make_evaluate_test
from vae_jax.parts import Parts
from vae_jax.pictures import save_pictures
from vae_jax.reporting.log import read_rows
from vae_jax.trained import Trained, load
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.folder import read_manifest
from vae_jax.training.optim import make_hypers
from vae_jax.types import Model, Spec, Tree


def evaluate_split(
    folder: pathlib.Path, dataset: Dataset, split: str, num_samples: int, num_images: int | None = None
) -> dict[str, Any]:
    """Return the figures of a trained run on a split of its data, or on `num_images` evenly spaced examples of it.

    Raises:
        DataError: the data are not those of the run.
        StorageError: the run has no undamaged checkpoint.
    """
    trained = load(folder)
    check_data(read_manifest(folder), sha256(dataset))
    config = trained.config
    feed = make_feed(config["data"], dataset, split)
    feed = feed if num_images is None else feed.subset(num_images)
    hypers = make_hypers(config["hypers"], steps_per_epoch(dataset.sizes["train"], config["train"]["batch_size"]))
    settings = {**config["evaluate"], "num_importance_samples": num_samples}
    figures = make_evaluate_test(trained.model, feed, settings, _num_dims(config, dataset.shape))
    return figures(trained.params, trained.stats, hypers)


def check_data(begun: Mapping[str, Any], found: str) -> None:
    """Compare the data at hand, SHA-256 `found`, with those in the manifest of a run.

    Raises:
        DataError: they differ.
    """
    recorded = begun["data"]["sha256"]
    if recorded != found:
        raise DataError(f"these are not the data of the run: SHA-256 {found[:12]}..., trained on {recorded[:12]}...")


def make_evaluate(
    config: Mapping[str, Any], dataset: Dataset, spec: Spec, model: Model, feeds: Mapping[str, Feed]
) -> tuple[Callable[[Tree], dict[str, Any]], Pca]:
    """Return checkpoint tree -> the figures of the test split and the baselines', and the fitted baseline.

    What is compiled and fitted serves all checkpoints of this config, whatever its seed and hyperparameters.
    """
    shape = dataset.shape
    train = seen(feeds["train"], shape, num_fitted(feeds["train"].size, shape), ("image",))["image"]
    pca = fit_pca(train, config["model"]["latent"])
    baselines = evaluate_baselines(pca, train, feeds["test"])
    evaluate_test = make_evaluate_test(model, feeds["test"], config["evaluate"], _num_dims(config, shape))
    limit = min(60000, int(1e9 // (4 * math.prod(shape))))  # at most 1 GB as float32
    judge = functools.cache(lambda: train_judge(dataset.pictures("train", limit)))

    def evaluate(tree: Tree) -> dict[str, Any]:
        best = tree["best"]
        figures = evaluate_test(best["params"], best["stats"], tree["state"]["hypers"])
        trained = Trained(config, spec, model, best["params"], best["stats"])
        if trained.conditional:
            asked = np.arange(1000) % spec.num_classes
            drawn = trained.sample(len(asked))
            figures |= conditional_accuracy(judge(), drawn, asked, dataset.pictures("test", limit))
        return {"test": figures, "baselines": baselines}

    return evaluate, pca


def of_state(config: Mapping[str, Any], dataset: Dataset, tree: Tree, folder: pathlib.Path) -> dict[str, Any]:
    """Return what results.json says of a final checkpoint tree: steps, size and hash, and whether STOP ended it."""
    state = tree["state"]
    total = config["train"]["epochs"] * steps_per_epoch(dataset.sizes["train"], config["train"]["batch_size"])
    figures = {
        "best_step": int(tree["best"]["step"]),
        "steps": int(state["step"]),
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(state["params"])),
        "state_sha256": state_sha256(state),
    }
    asked = (folder / "STOP").exists() and figures["steps"] < total
    return figures | ({"stopped": "request"} if asked else {})


def draw(config: Mapping[str, Any], parts: Parts, tree: Tree, pca: Pca, folder: pathlib.Path) -> list[pathlib.Path]:
    """Write the pictures of a finished run and return their paths.

    Raises:
        StorageError: the disk is full.
    """
    trained = Trained(config, parts.spec, parts.model, tree["best"]["params"], tree["best"]["stats"])
    unit = "" if parts.model.log_weights is None else " nats"
    rows = read_rows(folder / "metrics.jsonl")
    test = seen(parts.feeds["test"], parts.spec.shape, 2000, ("image", "input", "label"))
    try:
        return save_pictures(folder / "pictures", trained, pca, test, parts.spec.num_classes > 0, rows, unit)
    except OSError as error:
        raise StorageError(f"writing {folder / 'pictures'} failed: {error.strerror or error}") from error


def _num_dims(config: Mapping[str, Any], shape: tuple[int, int, int]) -> int | None:
    """Return H W C where the likelihood gives pixels probability masses; None where it gives densities, or is none."""
    likelihood = config["model"].get("likelihood")
    return math.prod(shape) if likelihood and build("prob.likelihoods", likelihood)().bases else None
