"""Restoration: how near a model comes to the clean picture from a damaged one, beside what needs no network.

The damage is the corruption that the run was trained with (`config.data.corruption`). All is fitted to the training
split and chosen on the validation split; the test split is measured once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vae_jax.data.feed import make_batch_of, make_feed
from vae_jax.data.order import evenly_spaced
from vae_jax.evaluation.baselines import fit_pca, num_fitted
from vae_jax.evaluation.chroma import chroma, coloured, luminance
from vae_jax.evaluation.image_quality import psnr_of, ssim
from vae_jax.evaluation.restoration_baselines import Linear, choose, fit_linear, median, project, wiener
from vae_jax.evaluation.splits import batch_for, per_example
from vae_jax.tasks.own_pictures import as_whole, by_shifts, by_tiles, check_restores
from vae_jax.tasks.saved import Saved
from vae_jax.trained import Trained

_NUM_IMAGES = 10000  # of a split, at most
_LARGEST = 4096  # values of a picture, up to which the linear optimum is fitted: it needs the square of that
_DRAWS = 4  # of the damage, over which the moments of the linear optimum are taken
_SHOWN = 16
_HIDES = ("masking", "block_masking")

Methods = dict[str, tuple[np.ndarray, dict[str, Any]]]  # name -> restored test pictures, and what was chosen


def finish(corruption: str, inputs: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Return the restored pictures in [0, 1] from what a model was shown and what it gave, both [N,H,W,C].

    Values are clipped. A model that colours gives its chroma only: the luminance it was shown is kept as it is, and
    chroma that has no colour at this luminance is scaled down (see `vae_jax.evaluation.chroma`).
    """
    if corruption == "gray":
        return coloured(luminance(inputs), chroma(output))
    return np.clip(output, 0, 1)


def evaluate(saved: Saved) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Measure a run on its test split, and what needs no network beside it.

    Returns:
        What restoration.json holds, and the rows of a picture: clean, damaged, then each method in the same order.
        Every method has psnr_db, the PSNR of the mean squared error of all pictures clipped to [0, 1], and the mean
        ssim; where values were clipped psnr_unclipped_db, that without; where pixels were hidden hidden_psnr_db, of
        these alone; in colour chroma_psnr_db, of Cb and Cr with the peak 1, the length of their range.
        model_by_shifts is the model averaged over shifts of a pixel (`vae_jax.tasks.own_pictures.by_shifts`).
        model_from_file is the model on damaged pictures that were cut to [0, 1] and rounded to 8 bits, as files are.

    Raises:
        ConfigError: the run was trained without a corruption.
    """
    name = check_restores(saved.trained.config)
    test = _examples(saved, "test")
    labels = test["label"] if saved.trained.conditional else None
    methods: Methods = {
        "input": (test["input"], {}),
        "model": (saved.trained.reconstruct(test["input"], labels), {}),
        "model_by_shifts": (by_shifts(lambda x: saved.trained.reconstruct(x, labels), test["input"]), {}),
    }
    stored = (np.clip(test["input"], 0, 1) * 255).round().astype(np.float32) / 255
    if np.abs(stored - test["input"]).max() > 1 / 255:
        methods["model_from_file"] = saved.trained.reconstruct(stored, labels), {}
    if name == "gray":
        methods = {method: (finish(name, test["input"], output), {}) for method, (output, _) in methods.items()}
    methods |= _colours(saved, test) if name == "gray" else _filters(saved, test)
    figures = {method: _figures(name, test, *found) for method, found in methods.items()}
    shown = evenly_spaced(len(test["image"]), _SHOWN)  # for the test split may be in the order of its classes
    rows = [output[shown] for output, _ in methods.values()]
    corruption = dict(saved.trained.config["data"]["corruption"])
    sizes = {"num_images": len(test["image"]), "num_fitted": _num_fitted(saved)}
    return {"split": "test", **sizes, "corruption": corruption, "methods": figures}, [test["image"][shown], *rows]


def restore(
    trained: Trained,
    pictures: Sequence[np.ndarray],
    by: str | None = None,
    label: int | None = None,
    corrupt: bool = False,
    shifts: bool = False,
) -> dict[str, list[np.ndarray]]:
    """Return pictures of any size as they were given, damaged if `corrupt` asks for it, and restored, each [H,W,C].

    Args:
        trained: of a run with a corruption.
        pictures: float32 in [0, 1], of the model's number of channels.
        by: tiles or whole, see `vae_jax.tasks.own_pictures`; None for whole where colour is added, else tiles.
        label: what they show, for a conditional model.
        corrupt: damage them first, as the run's training pictures were, each by noise of its own.
        shifts: average over shifts of a pixel, for five times the work.
    """
    name = check_restores(trained.config)
    change = {"tiles": by_tiles, "whole": as_whole}[by or ("whole" if name == "gray" else "tiles")]

    def network(images: np.ndarray) -> np.ndarray:
        return trained.reconstruct(images, None if label is None else np.full(len(images), label))

    stages = {"given": list(pictures)}
    if corrupt:
        stages["damaged"] = [trained.corrupt(picture[None], seed)[0] for seed, picture in enumerate(pictures)]
    damaged = list(stages.values())[-1]
    restorer = functools.partial(by_shifts, network) if shifts else network
    outputs = [change(restorer, picture, trained.spec.shape[:2]) for picture in damaged]
    stages["restored"] = [finish(name, x[None], y[None])[0] for x, y in zip(damaged, outputs, strict=True)]
    return stages


def lines(results: Mapping[str, Any]) -> list[str]:
    """Return the table of `evaluate` as lines of text."""
    columns = [name for name in next(iter(results["methods"].values())) if name != "psnr_unclipped_db"]
    head = f"{'':16}" + "".join(f"{column:>18}" for column in columns)
    body = [
        f"{method:16}" + "".join(f"{figures[column]:18.4f}" if column in figures else " " * 18 for column in columns)
        for method, figures in results["methods"].items()
    ]
    left_out = f"the linear optimum is fitted to pictures of at most {_LARGEST} values, and left out here"
    return [head, *body, *([] if "linear_optimum" in results["methods"] else [left_out])]


def _examples(saved: Saved, split: str) -> dict[str, np.ndarray]:
    """Return image, input [N,H,W,C] and label [N] of a split, and which values [N,H,W,C] the damage hid, if it does."""
    examples = saved.seen(split, _NUM_IMAGES)
    config = saved.trained.config["data"]
    if config["corruption"]["name"] in _HIDES:
        index = evenly_spaced(saved.dataset.sizes[split], _NUM_IMAGES).astype(np.int32)
        batch_of = make_batch_of({**config, "pixels": "unit"}, split, levels=1)
        white = np.ones(saved.dataset.shape, np.float32)

        def hidden(chosen: np.ndarray) -> dict[str, np.ndarray]:
            stored = {"image": np.stack([white] * len(chosen)), "label": chosen, "index": index[chosen]}
            return {"hidden": np.asarray(batch_of(stored, 0)["input"]) == 0}

        examples |= per_example(hidden, len(index), batch_for(len(index), saved.dataset.shape))
    return examples


def _filters(saved: Saved, test: Mapping[str, np.ndarray]) -> Methods:
    """Return what the linear optimum, the median filter, PCA and, where pixels were hidden, their mean make of test."""
    validation, train = _examples(saved, "validation"), saved.seen("train", _num_fitted(saved))["image"]
    shape = saved.dataset.shape
    found: Methods = {}
    if np.prod(shape) <= _LARGEST:
        corruption = saved.trained.config["data"]["corruption"]
        exact = corruption["name"] == "gaussian"
        linear = wiener(train, corruption["scale"]) if exact else fit_linear(_pairs(saved, _DRAWS))
        found["linear_optimum"] = _shaped(linear, test["input"], shape), {}
    size = choose((3, 5), lambda size: median(validation["input"], size), validation["image"])
    found["median"] = median(test["input"], size), {"size": size}
    pca = fit_pca(train, 512)
    options = [2**i for i in range(10) if 2**i <= len(pca.components)]
    count = choose(options, lambda count: project(pca, count, validation["input"]), validation["image"])
    found["pca"] = project(pca, count, test["input"]), {"components": count}
    if "hidden" in test:
        found["mean_picture"] = np.where(test["hidden"], train.mean(axis=0), test["input"]), {}
    return found


def _colours(saved: Saved, test: Mapping[str, np.ndarray]) -> Methods:
    """Return the test pictures in the mean colour of each pixel, and in the best linear guess from the luminance."""
    y, shape = luminance(test["input"]), (*saved.dataset.shape[:2], 2)
    mean = chroma(saved.seen("train", _num_fitted(saved))["image"]).mean(axis=0)
    found: Methods = {"mean_colour": (coloured(y, np.broadcast_to(mean, (len(y), *shape))), {})}
    if np.prod(shape[:2]) <= _LARGEST:
        linear = fit_linear((chroma(image), luminance(given)) for image, given in _pairs(saved, 1))
        found["linear_optimum"] = coloured(y, _shaped(linear, y, shape)), {}
    return found


def _shaped(linear: Linear, inputs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return linear.restore(inputs).reshape(-1, *shape).astype(np.float32)


def _num_fitted(saved: Saved) -> int:
    return num_fitted(saved.dataset.sizes["train"], saved.dataset.shape)


def _pairs(saved: Saved, draws: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the training pictures in blocks, clean and damaged [n,H,W,C], once for each draw of the damage."""
    feed, shape = make_feed(saved.trained.config["data"], saved.dataset, "train"), saved.dataset.shape
    see = jax.jit(lambda arrays, row, epoch: {k: feed.batch(arrays, row, epoch)[k] for k in ("image", "input")})
    chosen = evenly_spaced(feed.size, _num_fitted(saved)).astype(np.int32)
    for epoch in range(draws):
        for start in range(0, len(chosen), batch_for(len(chosen), shape)):
            block = see(feed.arrays, feed.row(chosen[start : start + batch_for(len(chosen), shape)]), epoch)
            yield np.asarray(block["image"]), np.asarray(block["input"])


def _figures(name: str, test: Mapping[str, np.ndarray], output: np.ndarray, chosen: dict[str, Any]) -> dict[str, Any]:
    images, restored = test["image"], np.clip(output, 0, 1)
    error = _mean_square(restored, images)
    figures = {"psnr_db": float(psnr_of(error.mean())), "ssim": _mean_ssim(restored, images)}
    if "hidden" in test:
        figures["hidden_psnr_db"] = float(psnr_of(np.square(restored - images)[test["hidden"]].mean(dtype=np.float64)))
    if name == "gray":
        figures["chroma_psnr_db"] = float(psnr_of(_mean_square(chroma(restored), chroma(images)).mean()))
    elif not np.array_equal(restored, output):
        figures["psnr_unclipped_db"] = float(psnr_of(_mean_square(output, images).mean()))
    return figures | chosen


def _mean_square(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.square(a - b).mean((1, 2, 3), dtype=np.float64)


def _mean_ssim(restored: np.ndarray, images: np.ndarray) -> float:
    starts = range(0, len(images), 500)  # at once: SSIM takes many times the memory of the pictures
    return float(sum(ssim(restored[i : i + 500], images[i : i + 500]).sum() for i in starts) / len(images))
