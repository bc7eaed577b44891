"""A trained model in hand: load it from a run folder and use it. It needs neither the data nor the optimizer."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.build import build
from vae_jax.data.feed import make_batch_of
from vae_jax.errors import ConfigError, DataError
from vae_jax.evaluation.likelihood import neg_log_likelihood
from vae_jax.evaluation.splits import batch_for, per_example
from vae_jax.evaluation.summary import SEED, importance_batches
from vae_jax.precision import precision_of, with_products
from vae_jax.streams import stream
from vae_jax.training.checkpoint import load_newest
from vae_jax.training.folder import read_config, read_manifest
from vae_jax.training.optim import make_hypers
from vae_jax.types import Batch, Hypers, Model, Spec, Tree


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
        return self.of_batches(_encode, self.model, self._rows(images, labels))

    def draw(self, images: np.ndarray, labels: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
        """Return a draw of q(z|x) for each picture, [N,D]; its code where `encode` says all there is."""
        if self.model.draw is None:
            return self.encode(images, labels)
        return self.of_batches(_draw, self.model, self._rows(images, labels), stream(seed, "posterior draws"))

    def decode(self, codes: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the mean pictures [N,H,W,C] of codes [N,D]."""
        fields = {"code": np.asarray(codes, np.float32), "label": self._labels(labels, len(codes))}
        return self.of_batches(_decode, self.model, fields)

    def generate(self, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the mean pictures [N,H,W,C] that `sample` makes of z [N,D]: the decoder's, or a GAN's generator's."""
        fields = {"code": np.asarray(z, np.float32), "label": self._labels(labels, len(z))}
        return self.of_batches(_generate, self.model, fields)

    def reconstruct(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return decode(encode(images))."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, num: int, label: int | None = None, temperature: float = 1.0, seed: int = 0) -> np.ndarray:
        """Draw `num` mean pictures [N,H,W,C] with z ~ N(0, temperature^2 I); a conditional model cycles its labels.

        Raises:
            ConfigError: the model has no prior, knows no labels, or not this one.
        """
        if self.model.sample is None:
            raise ConfigError(
                f"model.name={self.config['model']['name']} has no prior to sample from; draw from a density of its "
                "codes, such as --sampler=gmm"
            )
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

    def evaluate(self, images: np.ndarray, labels: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return what the model measures of each picture, every value [N]: the -ELBO, say, or the squared error.

        The noise of picture i is that of example i of a split, so test pictures in order give the figures of a run.
        """
        key, hypers = stream(SEED, "evaluate"), make_hypers(self.config["hypers"], 1)
        return self.of_batches(_evaluate, (self.model, self._precision), self._rows(images, labels), key, hypers)

    def neg_log_likelihood(
        self, images: np.ndarray, labels: np.ndarray | None = None, num_samples: int = 100
    ) -> np.ndarray:
        """Return the importance-weighted -log p(x) of each picture with `num_samples` samples, [N], in nats.

        Raises:
            ConfigError: the model has no likelihood.
        """
        if self.model.log_weights is None:
            raise ConfigError(f"model.name={self.config['model']['name']} has no likelihood; train a vae")
        size, chunk = importance_batches(num_samples)
        key, settings = stream(SEED, "importance samples"), (self.model, self._precision, num_samples, chunk)
        return self.of_batches(_neg_log_likelihood, settings, self._rows(images, labels), key, size=size)

    def of_batches(
        self,
        function: Callable[..., Tree],
        static: Any,
        fields: Mapping[str, np.ndarray],
        *args: Any,
        size: int | None = None,
    ) -> Any:
        """Return function(static, params, stats, batch, *args) of all rows of `fields`, computed batch by batch.

        Args:
            function: of a module, so that it is compiled once; its values have a leading axis of the batch.
            static: hashable; what the compiled program depends on, such as the model.
            fields: what a batch holds, each [N, ...].
            args: arrays that are the same for all batches.
            size: rows in a batch; None for as many as suit the size of the pictures.

        Raises:
            DataError: there are no rows.
        """
        count = len(next(iter(fields.values())))
        if not count:
            raise DataError("there is nothing to look at: an array of 0 examples")
        run = jax.jit(function, static_argnums=0)

        def rows(index: np.ndarray) -> dict[str, Any]:
            batch = {name: column[index] for name, column in fields.items()}
            values = run(static, self.params, self.stats, batch, *args)
            return values if isinstance(values, dict) else {"value": values}

        found = per_example(rows, count, min(count, size or batch_for(count, self.spec.shape)))
        return found["value"] if found.keys() == {"value"} else found

    @property
    def _precision(self) -> str:
        return precision_of(self.config["evaluate"])

    def _labels(self, labels: np.ndarray | None, num: int) -> np.ndarray:
        if labels is None and self.conditional:
            raise ConfigError("a conditional model needs the labels of its pictures")
        if labels is not None and self.conditional:
            wrong = set(np.unique(labels).tolist()) - set(range(self.spec.num_classes))
            if wrong:
                raise ConfigError(f"label {min(wrong)} is unknown; labels are 0..{self.spec.num_classes - 1}")
        return np.zeros(num, np.int32) if labels is None else np.asarray(labels, np.int32)

    def _rows(self, images: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        x = np.asarray(images, np.float32)
        if x.shape[1:] != tuple(self.spec.shape):
            raise DataError(f"pictures have the shape {x.shape[1:]}, and this model takes {tuple(self.spec.shape)}")
        label, index = self._labels(labels, len(x)), np.arange(len(x), dtype=np.int32)
        return {"image": x, "input": x, "label": label, "index": index}


def _encode(model: Model, params: Tree, stats: Tree, batch: Batch) -> jax.Array:
    return model.encode(params, stats, batch)


def _draw(model: Model, params: Tree, stats: Tree, batch: Batch, key: jax.Array) -> jax.Array:
    return model.draw(params, stats, batch, key)


def _decode(model: Model, params: Tree, stats: Tree, batch: Batch) -> jax.Array:
    return model.decode(params, stats, batch["code"], batch["label"])


def _generate(model: Model, params: Tree, stats: Tree, batch: Batch) -> jax.Array:
    return (model.generate or model.decode)(params, stats, batch["code"], batch["label"])


def _evaluate(
    static: tuple[Model, str], params: Tree, stats: Tree, batch: Batch, key: jax.Array, hypers: Hypers
) -> Tree:
    model, precision = static
    return with_products(precision, model.evaluate)(params, stats, batch, key, hypers)


def _neg_log_likelihood(
    static: tuple[Model, str, int, int], params: Tree, stats: Tree, batch: Batch, key: jax.Array
) -> jax.Array:
    model, precision, num_samples, chunk = static

    def estimate(params: Tree, stats: Tree, batch: Batch, key: jax.Array) -> jax.Array:
        return neg_log_likelihood(model, params, stats, batch, key, num_samples, chunk)

    return with_products(precision, estimate)(params, stats, batch, key)


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
    best = load_newest(folder / "checkpoints")[1]["best"]
    data = read_manifest(folder)["data"]
    # The mean picture serves the start of training only.
    mean = np.zeros(data["shape"], np.float32)
    spec = Spec(tuple(data["shape"]), data["num_classes"], mean, num_examples=data["sizes"]["train"])
    return Trained(config, spec, make_model(config, spec), best["params"], best["stats"])
