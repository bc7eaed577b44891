"""The figures of a finished run on its test split, with the baselines beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vae_jax.evaluation.baselines import Pca, independent_bernoulli
from vae_jax.evaluation.likelihood import active_units, make_neg_log_likelihood
from vae_jax.evaluation.splits import mean, per_example, standard_error
from vae_jax.streams import stream
from vae_jax.types import Batch, Hypers, Model, Tree

_SEED = 20140116  # noise of evaluation never depends on the noise of training
_ROWS = 2000  # decoded at once: the activations of so many stay in a CPU's cache


def make_evaluate(model: Model, batch_of: Callable[..., Batch]) -> Callable[..., dict[str, jax.Array]]:
    """Return the compiled (params, stats, hypers, arrays, index [B]) -> metrics, every value [B]."""

    @jax.jit
    def run(params: Tree, stats: Tree, hypers: Hypers, arrays: Tree, index: jax.Array) -> dict[str, jax.Array]:
        return model.evaluate(params, stats, batch_of(arrays, index, 0), stream(_SEED, "evaluate"), hypers)

    return run


def estimate_nll(
    model: Model, params: Tree, stats: Tree, batch_of: Callable[..., Batch], arrays: Tree, num_samples: int
) -> dict[str, Any]:
    """Return the mean -log p(x) of a split in nats with its standard error over the examples, and k."""
    images = max(1, min(20, _ROWS // num_samples))
    run = make_neg_log_likelihood(model, batch_of, num_samples, max(1, _ROWS // images))
    key = stream(_SEED, "importance samples")
    nll = per_example(lambda index: run(params, stats, arrays, index, key), len(arrays["image"]), images)["nll_nats"]
    return {
        "nll_nats": float(nll.mean(dtype=np.float64)),
        "nll_nats_standard_error": standard_error(nll),
        "nll_num_samples": num_samples,
    }


def evaluate_test(
    model: Model,
    params: Tree,
    stats: Tree,
    hypers: Hypers,
    batch_of: Callable[..., Batch],
    arrays: Tree,
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """Return every test figure of the model; `config` is `config.evaluate`."""
    run, size = make_evaluate(model, batch_of), len(arrays["image"])
    values = per_example(lambda index: run(params, stats, hypers, arrays, index), size, config["batch_size"])
    results: dict[str, Any] = {"num_examples": size, **mean(values)}
    results |= {f"{name}_standard_error": standard_error(value) for name, value in values.items() if name != "loss"}
    if model.log_weights is not None:
        encode = jax.jit(lambda params, stats, arrays, index: model.encode(params, stats, batch_of(arrays, index, 0)))
        codes = per_example(lambda i: {"code": encode(params, stats, arrays, i)}, size, config["batch_size"])["code"]
        results["active_units"] = active_units(codes)
        results |= estimate_nll(model, params, stats, batch_of, arrays, config["num_importance_samples"])
    return results


def evaluate_baselines(pca: Pca, train: np.ndarray, images: np.ndarray, inputs: np.ndarray) -> dict[str, Any]:
    """Return the figures of the baselines on test pictures.

    Args:
        pca: fitted to `train`, as many components as the model has latents.
        train: training pictures as the model sees them, [N,H,W,C].
        images: test pictures, what is to be reconstructed.
        inputs: what the model is shown of them; differs from `images` where there is a corruption.
    """
    results = {
        "pca_mse": float(np.square(pca.reconstruct(inputs) - images).mean(dtype=np.float64)),
        "pca_components": len(pca.components),
        "ppca_nll_density_nats": float(pca.neg_log_likelihood(images).mean()),
    }
    if np.isin(images, (0, 1)).all():
        results["independent_bernoulli_nll_nats"] = float(independent_bernoulli(train, images).mean())
    return results
