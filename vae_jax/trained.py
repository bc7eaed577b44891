"""A trained model in hand: load it from a run folder and use it. It needs neither the data nor the optimizer."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import programs
from vae_jax.build import build
from vae_jax.data.feed import make_batch_of
from vae_jax.data.given import given_codes, given_images, given_labels, numbers_of
from vae_jax.data.pixels import DRAWN
from vae_jax.errors import ConfigError, DataError
from vae_jax.evaluation.splits import batch_for, per_example
from vae_jax.evaluation.summary import SEED, importance_batches
from vae_jax.precision import precision_of
from vae_jax.streams import stream
from vae_jax.training.checkpoint import load_newest
from vae_jax.training.folder import read_config, read_manifest
from vae_jax.training.optim import make_hypers
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

    def prepared(self, images: np.ndarray, drawn: bool = True) -> np.ndarray:
        """Return pictures [N,H,W,C] in [0, 1] with the pixels that the model was trained on (`data.pixels`).

        No corruption is added. A picture is drawn by noise that depends on its values alone; if not `drawn`, what
        training draws keeps its probabilities.
        """
        x = given_images(images, self.spec.shape)
        if not drawn and self.config["data"]["pixels"] in DRAWN:
            return x
        config = {**self.config["data"], "corruption": None}
        stored = {"image": x, "label": np.zeros(len(x), np.int32), "index": numbers_of(x)}
        return np.asarray(make_batch_of(config, "test", 1)(stored, 0)["image"])

    def encode(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the codes [N,D] of pictures [N,H,W,C] in [0, 1], as they are: see `prepared`; nothing is added."""
        return self.of_batches(programs.encode, self.model, self._seen(images, labels))

    def draw(
        self, images: np.ndarray, labels: np.ndarray | None = None, seed: int = 0, index: np.ndarray | None = None
    ) -> np.ndarray:
        """Return a draw of q(z|x) for each picture, [N,D]; its code where `encode` says all there is.

        `index` [N] keys the noise, see `evaluate`.
        """
        if self.model.draw is None:
            return self.encode(images, labels)
        rows = self._seen(images, labels, index)
        return self.of_batches(programs.draw, self.model, rows, stream(seed, "posterior draws"))

    def decode(self, codes: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the mean pictures [N,H,W,C] of codes [N,D]."""
        return self.of_batches(programs.decode, self.model, self._codes(codes, labels))

    def generate(self, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return the mean pictures [N,H,W,C] that `sample` makes of z [N,D]: the decoder's, or a GAN's generator's."""
        return self.of_batches(programs.generate, self.model, self._codes(z, labels))

    def reconstruct(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Return decode(encode(images))."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, num: int, label: int | None = None, temperature: float = 1.0, seed: int = 0) -> np.ndarray:
        """Draw `num` mean pictures [N,H,W,C] with z ~ N(0, temperature^2 I); a conditional model cycles its labels.

        Raises:
            ConfigError: the model has no prior, knows no labels, or not this one; `num` is below 1, or the temperature
                below 0.
        """
        if num < 1 or not 0 <= temperature < np.inf:
            raise ConfigError(f"num={num}, temperature={temperature}: expected 1 or more, and a number of 0 or more")
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

    def evaluate(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        index: np.ndarray | None = None,
        seed: int = SEED,
    ) -> dict[str, np.ndarray]:
        """Return what the model measures of each picture, every value [N]: the -ELBO, say, or the squared error.

        Args:
            images: [N,H,W,C] in [0, 1].
            labels: [N], for a conditional model.
            index: [N] whole numbers that key the noise. By default it depends on the values of a picture alone, not on
                those beside it. With 0..N-1 test pictures in their order give the figures of a run.
            seed: of the noise.
        """
        key, hypers = stream(seed, "evaluate"), make_hypers(self.config["hypers"], 1)
        rows = self._rows(images, labels, index)
        return self.of_batches(programs.evaluate, (self.model, self._precision), rows, key, hypers)

    def neg_log_likelihood(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        num_samples: int = 100,
        index: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the importance-weighted -log p(x) of each picture with `num_samples` samples, [N], in nats.

        `index` [N] keys the noise, see `evaluate`.

        Raises:
            ConfigError: the model has no likelihood, or `num_samples` is below 1.
        """
        if self.model.log_weights is None:
            raise ConfigError(f"model.name={self.config['model']['name']} has no likelihood; train a vae")
        if num_samples < 1:
            raise ConfigError(f"num_samples={num_samples} is not allowed: expected 1 or more")
        size, chunk = importance_batches(num_samples)
        key, settings = stream(SEED, "importance samples"), (self.model, self._precision, num_samples, chunk)
        return self.of_batches(programs.neg_log_likelihood, settings, self._rows(images, labels, index), key, size=size)

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
        return given_labels(labels, num, self.spec.num_classes if self.conditional else 0)

    def _codes(self, codes: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        code = given_codes(codes, self.config["model"]["latent"])
        return {"code": code, "label": self._labels(labels, len(code))}

    def _seen(
        self, images: np.ndarray, labels: np.ndarray | None, index: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return pictures for the encoder, which may be damaged where it was trained on damaged ones."""
        return self._rows(images, labels, index, bounded=not self.config["data"].get("corruption"))

    def _rows(
        self, images: np.ndarray, labels: np.ndarray | None, index: np.ndarray | None = None, bounded: bool = True
    ) -> dict[str, np.ndarray]:
        x = given_images(images, self.spec.shape, bounded)
        number = numbers_of(x) if index is None else np.asarray(index, np.int32)
        return {"image": x, "input": x, "label": self._labels(labels, len(x)), "index": number}


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
