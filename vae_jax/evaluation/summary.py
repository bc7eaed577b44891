"""The figures of a finished run on its test split, with the baselines beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vae_jax.data.feed import Feed
from vae_jax.evaluation.baselines import Pca, independent_bernoulli, on_frequencies
from vae_jax.evaluation.likelihood import active_units, neg_log_likelihood
from vae_jax.evaluation.splits import batch_for, mean, per_example, standard_error
from vae_jax.precision import precision_of, with_products
from vae_jax.streams import stream
from vae_jax.types import Hypers, Model, Tree

SEED = 20140116  # noise of evaluation never depends on the noise of training
_CHUNK = 2500  # samples decoded at once: the activations of so many stay in a CPU's cache
_IMAGES = 20  # decoded at once, if they have few samples; ten times as many where more rows are needed to be busy


def make_evaluate(model: Model, feed: Feed, precision: str = "fp32") -> Callable[..., dict[str, jax.Array]]:
    """Return the compiled (index [B], params, stats, hypers) -> metrics, every value [B]."""

    def evaluate(batch, params, stats, hypers):
        return model.evaluate(params, stats, batch, stream(SEED, "evaluate"), hypers)

    return feed.compiled(with_products(precision, evaluate))


def importance_batches(num_samples: int) -> tuple[int, int]:
    """Return how many examples, and how many of their samples, to decode at once for -log p(x)."""
    chunk = min(num_samples, _CHUNK)  # on any platform, for the noise is drawn by chunks
    images = min(_IMAGES, _CHUNK // chunk)
    return images if jax.default_backend() == "cpu" else 10 * images, chunk


def make_estimate_nll(
    model: Model, feed: Feed, num_samples: int, precision: str = "fp32"
) -> Callable[[Tree, Tree], dict[str, Any]]:
    """Return (params, stats) -> the mean -log p(x) of a split in nats, its standard error over the examples, and k."""
    images, chunk = importance_batches(num_samples)
    key = stream(SEED, "importance samples")

    def estimate(batch, params, stats):
        return {"nll_nats": neg_log_likelihood(model, params, stats, batch, key, num_samples, chunk)}

    run = feed.compiled(with_products(precision, estimate))

    def estimate_nll(params: Tree, stats: Tree) -> dict[str, Any]:
        nll = per_example(lambda index: run(index, params, stats), feed.size, images)["nll_nats"]
        return {
            "nll_nats": float(nll.mean(dtype=np.float64)),
            "nll_nats_standard_error": standard_error(nll),
            "nll_num_samples": num_samples,
        }

    return estimate_nll


def make_evaluate_test(
    model: Model, feed: Feed, config: Mapping[str, Any], num_dims: int | None
) -> Callable[[Tree, Tree, Hypers], dict[str, Any]]:
    """Return (params, stats, hypers) -> every test figure of the model; what is compiled serves all calls.

    Args:
        model: the architecture.
        feed: of the split.
        config: `config.evaluate`.
        num_dims: H W C where pixels have probability masses, to give nats as bits per dimension too; None where they
            have densities, or nothing.
    """
    precision = precision_of(config)
    run, size = make_evaluate(model, feed, precision), feed.size
    encode = feed.compiled(lambda batch, params, stats: {"code": model.encode(params, stats, batch)})
    estimate_nll = make_estimate_nll(model, feed, config["num_importance_samples"], precision)

    def evaluate_test(params: Tree, stats: Tree, hypers: Hypers) -> dict[str, Any]:
        values = per_example(lambda index: run(index, params, stats, hypers), size, config["batch_size"])
        results: dict[str, Any] = {"num_examples": size, **mean(values)}
        results |= {f"{name}_standard_error": standard_error(value) for name, value in values.items() if name != "loss"}
        if model.log_weights is not None:
            codes = per_example(lambda index: encode(index, params, stats), size, config["batch_size"])["code"]
            results["active_units"] = active_units(codes)
            results |= estimate_nll(params, stats)
        return results | (bits_per_dim(results, num_dims) if num_dims else {})

    return evaluate_test


def bits_per_dim(figures: Mapping[str, Any], num_dims: int) -> dict[str, float]:
    """Return the figures of log p(x) in nats, and their standard errors, as bits per dimension: nats / (ln 2 * H W C).

    Only probability masses are worth bits: a density changes with the unit of a pixel.
    """
    return {
        name.replace("_nats", "_bits_per_dim"): value / (math.log(2) * num_dims)
        for name, value in figures.items()
        if name.startswith(("neg_elbo_nats", "nll_nats"))
    }


def evaluate_baselines(pca: Pca, train: np.ndarray, feed: Feed) -> dict[str, Any]:
    """Return the figures of the baselines on a split.

    Args:
        pca: fitted to `train`, as many components as the model has latents.
        train: training pictures as the model sees them, [N,H,W,C].
        feed: of the split: its pictures are to be reconstructed from what the model is shown of them, which is
            something else where there is a corruption.
    """
    see, on = feed.compiled(lambda batch: (batch["image"], batch["input"])), on_frequencies(train)

    def figures(index: np.ndarray) -> dict[str, np.ndarray]:
        images, inputs = map(np.asarray, see(index))
        return {
            "pca_mse": np.square(pca.reconstruct(inputs) - images).mean((1, 2, 3), dtype=np.float64),
            "ppca_nll_density_nats": pca.neg_log_likelihood(images),
            "independent_bernoulli_nll_nats": independent_bernoulli(on, images),
            "binary": ((images == 0) | (images == 1)).all((1, 2, 3)),
        }

    found = mean(per_example(figures, feed.size, batch_for(feed.size, train.shape[1:])))
    if found.pop("binary") < 1:
        del found["independent_bernoulli_nll_nats"]
    fitted = {"pca_components": len(pca.components), "pca_num_images": len(train), "pca_solver": pca.solver}
    return found | fitted
