"""A saved run with the data it was trained on: what every task starts from."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from vae_jax.data.dataset import Dataset, sha256
from vae_jax.data.feed import make_feed
from vae_jax.data.load import load_dataset
from vae_jax.evaluation.splits import seen
from vae_jax.results import check_data
from vae_jax.trained import Trained, load
from vae_jax.training.folder import read_config, read_manifest


class Saved(NamedTuple):
    """A trained model, its data and its folder."""

    folder: pathlib.Path
    trained: Trained
    dataset: Dataset

    def seen(self, split: str, limit: int | None = None) -> dict[str, np.ndarray]:
        """Return examples of a split as the model sees them: image, input [N,H,W,C] in [0, 1], label [N].

        Args:
            split: train, validation or test.
            limit: take at most so many, evenly spaced; None for all.
        """
        feed = make_feed(self.trained.config["data"], self.dataset, split)
        return seen(feed, self.dataset.shape, limit, ("image", "input", "label"))


def open_saved(workdir: pathlib.Path, data_dir: pathlib.Path | None) -> Saved:
    """Load a run folder and its data, which must be those of the run.

    Raises:
        ConfigError: it is no run folder.
        DataError: the data are missing, damaged, or not those of the run.
        StorageError: it has no undamaged checkpoint.
    """
    folder = pathlib.Path(workdir).expanduser().resolve()
    dataset = load_dataset(read_config(folder), data_dir)
    check_data(read_manifest(folder), sha256(dataset))
    return Saved(folder, load(folder), dataset)
