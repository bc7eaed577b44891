"""A trained model in hand: load it from a run folder and use it. It needs neither the data nor the optimizer."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.build import build
from vae_jax.data.feed import make_batch_of
from vae_jax.errors import ConfigError, DataError
from vae_jax.streams import stream
from vae_jax.training.checkpoint import load_best
from vae_jax.training.folder import read_config, read_manifest
from vae_jax.types import Model, Spec, Tree


class Trained(NamedTuple):
    """A model with the parameters that validation selected."""

    config: Mapping[str, Any]
    spec: Spec
    model: Model
    params: Tree
    stats: Tree

    @property
    def conditional(self) -> bool:
        """Whether it draws what a label prescribes."""
        return bool(self.config["model"].get("condition", False))

    def encode(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the codes [N,D] of pictures [N,H,W,C] in [0, 1], as they are: no corruption is added."""
        return np.asarray(jax.jit(self.model.encode)(self.params, self.stats, self._batch(images, labels)))

    def decode(self, codes: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the mean pictures [N,H,W,C] of codes [N,D]."""
        label = self._labels(labels, len(codes))
        return np.asarray(jax.jit(self.model.decode)(self.params, self.stats, jnp.asarray(codes), label))

    def reconstruct(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return decode(encode(images))."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, num: int, label: int | None = None, temperature: float = 1.0, seed: int = 0) -> np.ndarray:
        """Draw `num` mean pictures [N,H,W,C] with z ~ N(0, temperature^2 I); a conditional model cycles its labels.

        Raises:
            ConfigError: the model has no prior, knows no labels, or not this one.
        """
        if self.model.sample is None:
            raise ConfigError(f"an {self.config['model']['name']} has no prior to sample from; train a vae")
        if label is not None and not self.conditional:
            raise ConfigError("this model was not given labels (model.condition=False), so it cannot draw a chosen one")
        labels = np.arange(num) % max(self.spec.num_classes, 1) if label is None else np.full(num, label)
        key, classes = stream(seed, "samples"), self._labels(labels, num)
        return np.asarray(jax.jit(self.model.sample)(self.params, self.stats, key, classes, temperature))

    def corrupt(self, images: np.ndarray, seed: int = 0) -> np.ndarray:
        """Return what the encoder was shown in training instead of pictures such as these: the corruption, if any."""
        config = {**self.config["data"], "pixels": "unit", "seed": seed}
        index = jnp.arange(len(images))
        stored = {"image": jnp.asarray(images), "label": jnp.zeros_like(index), "index": index}
        return np.asarray(make_batch_of(config, "test", 1)(stored, 0)["input"])

    def _labels(self, labels: np.ndarray | None, num: int) -> jax.Array:
        if labels is None and self.conditional:
            raise ConfigError("a conditional model needs the labels of its pictures")
        if labels is not None and self.conditional:
            wrong = set(np.unique(labels).tolist()) - set(range(self.spec.num_classes))
            if wrong:
                raise ConfigError(f"label {min(wrong)} is unknown; labels are 0..{self.spec.num_classes - 1}")
        return jnp.zeros(num, jnp.int32) if labels is None else jnp.asarray(labels, jnp.int32)

    def _batch(self, images: np.ndarray, labels: np.ndarray | None) -> dict[str, jax.Array]:
        x = jnp.asarray(images, jnp.float32)
        if x.shape[1:] != tuple(self.spec.shape):
            raise DataError(f"pictures have the shape {x.shape[1:]}, and this model takes {tuple(self.spec.shape)}")
        return {"image": x, "input": x, "label": self._labels(labels, len(x)), "index": jnp.arange(len(x))}


def make_model(config: Mapping[str, Any], spec: Spec) -> Model:
    """Build the model that a resolved config describes."""
    return build("models", config["model"])(spec)


def load(workdir: str | pathlib.Path) -> Trained:
    """Load a run folder, finished or not.

    Raises:
        ConfigError: it is no run folder.
        StorageError: it has no undamaged checkpoint.
    """
    folder = pathlib.Path(workdir).expanduser().resolve()
    config = read_config(folder)
    params, stats = load_best(folder / "checkpoints")
    data = read_manifest(folder)["data"]
    # The mean picture serves the start of training only.
    spec = Spec(tuple(data["shape"]), data["num_classes"], np.zeros(data["shape"], np.float32))
    return Trained(config, spec, make_model(config, spec), params, stats)
