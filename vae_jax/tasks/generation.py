"""Looking at what a model generates: sharpness, nearest neighbours, interpolations and walks along single latents."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from vae_jax.build import build
from vae_jax.data.order import evenly_spaced
from vae_jax.errors import DataError
from vae_jax.evaluation.baselines import Pca, fit_pca, num_fitted
from vae_jax.evaluation.fidelity import fidelity
from vae_jax.evaluation.generation import high_frequency_share, nearest
from vae_jax.evaluation.image_quality import psnr_of
from vae_jax.evaluation.judge import class_shares, conditional_accuracy, train_judge
from vae_jax.reporting.figures import save_grid, save_rows
from vae_jax.storage import subfolder, write_json
from vae_jax.tasks.samplers import Wanted
from vae_jax.tasks.saved import Saved
from vae_jax.trained import Trained

_GALLERY = 20000  # training pictures that a copy is looked for among, and that a density of codes is fitted to
_FEW = 6  # pictures, with fewer of which there is no fidelity
_COLUMNS = 12
_STEPS = np.linspace(0, 1, _COLUMNS)
_PATHS = 8  # interpolations, and latents that are walked along


def look(saved: Saved, num: int, seed: int, sampler: str | None = None) -> tuple[dict[str, Any], list[pathlib.Path]]:
    """Draw `num` pictures, measure them beside test data, and write generation.json and the pictures of a run.

    Interpolations and walks go through codes, of a GAN those of its discriminator. PCA's codes are drawn from the
    normal distribution fitted to those of the training pictures; its every figure stands beside.

    Fidelity (`vae_jax.evaluation.fidelity`) is measured against at most `num` test pictures, and stands beside that of
    as many training pictures: what a perfect model would reach. Data without labels have none, for the features are
    those of a classifier; in a space such as PCA's, PCA's own samples would be perfect.

    Args:
        saved: the run.
        num: how many pictures.
        seed: of what is drawn.
        sampler: a function of `vae_jax.tasks.samplers`; None for that of `draw`.
    """
    train, test = gallery(saved), saved.seen("test", num)
    if len(test["image"]) < 2:
        raise DataError("the run has one test picture, and interpolations are between two")
    trained, pca = saved.trained, fit_pca(train["image"], saved.trained.config["model"]["latent"])
    drawn = draw(trained, train, Wanted(num, seed=seed), sampler)
    labels = test["label"] if trained.conditional else None
    shown = {
        "reconstructions": trained.reconstruct(test["input"], labels),
        "samples": drawn,
        "pca_reconstructions": pca.reconstruct(test["input"]),
        "pca_samples": draw_pca(pca, train["image"].shape[1:], num, seed),
    }
    figures = {"num_images": num, "seed": seed, "sampler": sampler or default_sampler(trained)}
    figures |= _sharpness(shown, test["image"])
    for name in "reconstructions", "pca_reconstructions":
        figures[f"psnr_{name}_db"] = float(psnr_of(np.square(shown[name] - test["image"]).mean()))
    figures |= _copies(drawn, train["image"], test["image"])
    if saved.dataset.num_classes > 1:
        figures |= _judged(trained, shown, train, test)
    folder = saved.folder / "pictures"
    subfolder(folder)
    index, _ = nearest(drawn[:_COLUMNS], train["image"])
    save_rows(folder / "neighbours.png", [drawn[:_COLUMNS], train["image"][index]])
    save_grid(folder / "interpolations.png", interpolations(trained, test), _COLUMNS)
    save_grid(folder / "latent_walks.png", walks(trained, test), _COLUMNS)
    write_json(saved.folder / "generation.json", figures)
    return figures, [folder / f"{name}.png" for name in ("neighbours", "interpolations", "latent_walks")]


def gallery(saved: Saved) -> dict[str, np.ndarray]:
    """Return the training pictures, or 20000 of them, evenly spaced, as the model sees them."""
    return saved.seen("train", min(_GALLERY, num_fitted(saved.dataset.sizes["train"], saved.dataset.shape)))


def draw(trained: Trained, train: dict[str, np.ndarray], wanted: Wanted, sampler: str | None = None) -> np.ndarray:
    """Return new mean pictures, by the sampler of that name.

    Raises:
        ConfigError: there is no such sampler, or the model cannot be sampled by it.
    """
    return build("tasks.samplers", {"name": sampler or default_sampler(trained)})(trained, train, wanted)


def default_sampler(trained: Trained) -> str:
    """Return prior; where the model has none, gaussian."""
    return "gaussian" if trained.model.sample is None else "prior"


def draw_pca(pca: Pca, shape: tuple[int, ...], num: int, seed: int) -> np.ndarray:
    """Return `num` mean pictures [N,H,W,C] of probabilistic PCA: codes of the fitted variances, without the noise."""
    codes = np.random.default_rng(seed).normal(size=(num, len(pca.components))) * np.sqrt(pca.variances)
    return (codes @ pca.components + pca.mean).reshape(num, *shape).astype(np.float32)


def interpolations(trained: Trained, test: dict[str, np.ndarray]) -> np.ndarray:
    """Return pictures on straight lines between the codes of pairs of test pictures, a pair per row of 12.

    The ends of a row are reconstructions. A conditional model keeps the label of the first.
    """
    chosen = evenly_spaced(len(test["image"]), 2 * _PATHS)
    labels = test["label"][chosen] if trained.conditional else None
    codes = trained.encode(test["image"][chosen], labels)
    pairs = len(chosen) // 2
    start, end = codes[:pairs, None], codes[pairs : 2 * pairs, None]
    path = start + _STEPS[:, None] * (end - start)
    along = None if labels is None else np.repeat(labels[:pairs], _COLUMNS)
    return trained.decode(path.reshape(-1, codes.shape[1]), along)


def walks(trained: Trained, test: dict[str, np.ndarray]) -> np.ndarray:
    """Return pictures along single latents, the widest first, a latent per row of 12.

    A row starts from the code of the first test picture; one latent moves over the range of the codes of the test
    pictures without their outermost percent on either side.
    """
    labels = test["label"] if trained.conditional else None
    codes = trained.encode(test["image"], labels)
    widest = np.argsort(-codes.var(0))[:_PATHS]
    low, high = np.quantile(codes, [0.01, 0.99], axis=0)
    path = np.tile(codes[0], (len(widest), _COLUMNS, 1))
    for row, latent in enumerate(widest):
        path[row, :, latent] = low[latent] + _STEPS * (high[latent] - low[latent])
    along = None if labels is None else np.full(path.shape[0] * _COLUMNS, labels[0])
    return trained.decode(path.reshape(-1, codes.shape[1]), along)


def _sharpness(shown: dict[str, np.ndarray], data: np.ndarray) -> dict[str, float]:
    """Return the high-frequency share of the data, and that of each kind of picture divided by it."""
    share = high_frequency_share(data)
    ratios = {f"sharpness_{name}": high_frequency_share(np.clip(x, 0, 1)) / share for name, x in shown.items()}
    return {"high_frequency_share_data": share, **ratios}


def _judged(
    trained: Trained, shown: dict[str, np.ndarray], train: dict[str, np.ndarray], test: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return what a classifier of real pictures makes of the samples, and their fidelity in its features."""
    drawn, count = shown["samples"], trained.spec.num_classes
    judge, real = train_judge((train["image"], train["label"])), (test["image"], test["label"])
    if trained.conditional:
        figures = conditional_accuracy(judge, drawn, np.arange(len(drawn)) % count, real)
    else:
        figures = class_shares(judge, drawn, real, count)
    floor = train["image"][evenly_spaced(len(train["image"]), len(drawn))]
    if min(len(drawn), len(floor), len(test["image"])) < _FEW:
        return figures
    clouds = {"samples": drawn, "train": floor, **{n: shown[n] for n in ("reconstructions", "pca_samples")}}
    features = {name: judge.features(np.clip(images, 0, 1)) for name, images in clouds.items()}
    sizes = {"fidelity_num_test": len(test["image"]), "fidelity_num_train": len(floor)}
    return figures | sizes | fidelity(features, judge.features(test["image"]))


def _copies(drawn: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Return how far drawn pictures, and how far test pictures, are from their nearest training picture."""
    distances = {"samples": nearest(drawn, train)[1], "test": nearest(test, train)[1]}
    return {f"nearest_train_rmse_{name}": float(value.mean()) for name, value in distances.items()} | {
        "nearest_train_num_images": len(train)
    }
