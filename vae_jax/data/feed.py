"""Pictures on the device, and the pure function that makes a batch of them inside a compiled step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.build import build
from vae_jax.data.dataset import Dataset, Split
from vae_jax.streams import stream
from vae_jax.types import Batch, Spec


def make_spec(dataset: Dataset) -> Spec:
    """Return what a model may know of its data: shape, number of classes, mean training picture."""
    mean = dataset.splits["train"].images.mean(axis=0, dtype=np.float64) / dataset.levels
    return Spec(dataset.shape, dataset.num_classes, mean.astype(np.float32))


def arrays(split: Split) -> dict[str, np.ndarray]:
    """Return the split as the arrays that `make_batch_of` gathers from, in the small type they are stored in."""
    labels = np.zeros(len(split.images), np.int32) if split.labels is None else split.labels
    return {"image": split.images, "label": labels}


def make_batch_of(config: Mapping[str, Any], split: str, levels: int) -> Callable[..., Batch]:
    """Return `batch_of(arrays, index [B], epoch) -> Batch`, keyed by (data seed, split, epoch, example).

    Args:
        config: `config.data`: `pixels`, `corruption`, `seed`.
        split: what is drawn differs between splits; for evaluation call it with epoch 0 always.
        levels: the stored value of white.
    """
    pixels = build("data.pixels", {"name": config["pixels"]})
    corrupt = build("data.corruptions", config["corruption"]) if config["corruption"] else None
    base = stream(config["seed"], f"data of {split}")

    def batch_of(source: Mapping[str, jax.Array], index: jax.Array, epoch: jax.Array | int) -> Batch:
        epoch_key = jax.random.fold_in(base, epoch)
        pixel_keys, corruption_keys = (
            jax.vmap(jax.random.fold_in, (None, 0))(key, index) for key in jax.random.split(epoch_key)
        )
        image = pixels(pixel_keys, source["image"][index].astype(jnp.float32) / levels)
        seen = corrupt(corruption_keys, image) if corrupt else image
        return {"image": image, "input": seen, "label": source["label"][index], "index": index}

    return batch_of
