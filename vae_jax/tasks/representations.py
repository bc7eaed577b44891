"""Pictures as vectors: the codes of a model, and the pixels and principal components that they are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from vae_jax.data.order import evenly_spaced
from vae_jax.errors import ConfigError, DataError
from vae_jax.evaluation.baselines import fit_pca, num_fitted
from vae_jax.tasks.saved import Saved
from vae_jax.trained import Trained

_BYTES = 1e9  # of pictures of a split as float32
_BLOCK = 64e6  # of pictures that are read at once


class Split(NamedTuple):
    """A split in each representation, and its labels."""

    vectors: dict[str, np.ndarray]  # latent, pixels, pca: [N,D] float32
    labels: np.ndarray | None  # [N]; None where there are none, or one that all share
    chosen: np.ndarray  # [N] number of each picture in the data set


def check_searchable(trained: Trained) -> None:
    """Refuse a model whose code says too little by itself.

    Raises:
        ConfigError: it is conditional: its code holds what the label leaves open, and pictures to be compared or
            grouped have no label.
    """
    if trained.conditional:
        raise ConfigError(
            "the model of this run was given labels (model.condition=True), and its codes hold only what these leave "
            "open; search and grouping need a run without"
        )


def encode(trained: Trained, count: int, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the codes [N,D] of pictures that are read block by block, as they are stored: nothing is drawn or added.

    Args:
        trained: the model.
        count: N.
        read: index [B] -> pictures [B,H,W,C] in [0, 1].

    Raises:
        DataError: a code is not finite.
    """
    block = max(1, int(_BLOCK // (4 * math.prod(trained.spec.shape))))
    starts = range(0, count, block)
    codes = np.concatenate([trained.encode(read(np.arange(s, min(s + block, count)))) for s in starts])
    bad = ~np.isfinite(codes).all(axis=1)
    if bad.any():
        raise DataError(f"the codes of {int(bad.sum())} of {count} pictures are not finite; train the run anew")
    return codes


def reader(saved: Saved, split: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return index [B] -> pictures [B,H,W,C] of a split, float32 in [0, 1], with the pixels of training.

    What training draws keeps its probabilities, so that a code has no noise.
    """
    images, levels = saved.dataset.splits[split].images, np.float32(saved.dataset.levels)
    return lambda index: saved.trained.prepared(images[index] / levels, drawn=False)


def represent(saved: Saved, names: tuple[str, ...], codes: Mapping[str, np.ndarray] | None = None) -> dict[str, Split]:
    """Return splits as codes, as pixels, and as the principal components of the training pictures, as many as latents.

    Of a split of more than 1 GB as float32 pictures are taken at even spacing.

    Args:
        saved: the run.
        names: of the splits.
        codes: those of whole splits that are at hand, [N,D], by name.
    """
    trained, shape = saved.trained, saved.dataset.shape
    check_searchable(trained)
    fitted = evenly_spaced(saved.dataset.sizes["train"], num_fitted(saved.dataset.sizes["train"], shape))
    pca = fit_pca(reader(saved, "train")(fitted), trained.config["model"]["latent"])

    def split(name: str) -> Split:
        chosen = evenly_spaced(saved.dataset.sizes[name], max(1, int(_BYTES // (4 * math.prod(shape)))))
        read, labels = reader(saved, name), saved.dataset.splits[name].labels
        labels = labels if saved.dataset.num_classes > 1 else None
        pixels = read(chosen).reshape(len(chosen), -1)
        known = (codes or {}).get(name)
        vectors = {
            "latent": encode(trained, len(chosen), lambda i: read(chosen[i])) if known is None else known[chosen],
            "pixels": pixels,
            "pca": ((pixels - pca.mean.astype(np.float32)) @ pca.components.T.astype(np.float32)),
        }
        return Split(vectors, None if labels is None else labels[chosen], chosen)

    return {name: split(name) for name in names}
