"""How disentangled the codes of a run are, on test pictures whose factors are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from vae_jax.data.order import evenly_spaced
from vae_jax.errors import ConfigError
from vae_jax.evaluation.disentanglement import (
    mutual_information_gap,
    total_correlation_bound,
    total_correlation_gaussian,
)
from vae_jax.evaluation.splits import mean
from vae_jax.storage import write_json
from vae_jax.tasks.saved import Saved

_LEARN = 5  # training pictures for each that is measured
_OTHER_NOISE = 2**31  # added to the seed: with shared noise, what was learned would know the draws that it is tried on


def disentangle(saved: Saved, num: int, seed: int = 0) -> dict[str, Any]:
    """Return the figures of at most `num` test pictures, and write disentanglement.json.

    The total correlation of draws of q(z|x), where the model has them, is at least `total_correlation_bound`, which a
    classifier finds that has learned from the draws of at most five times as many training pictures. Those of draws and
    of codes are also given as that of a normal distribution of the same covariance. What the model measures of the
    pictures, its -ELBO say, is of the same pictures.

    Raises:
        ConfigError: the factors of the data are not known, or the pictures are too few.
    """
    data, latent = saved.dataset, saved.trained.config["model"]["latent"]
    factors = data.splits["test"].factors
    if factors is None:
        raise ConfigError(
            f"the factors of data {data.name!r} are not known; take a run on data such as sprites or dsprites"
        )
    factors = factors[evenly_spaced(len(factors), num)]
    if len(factors) <= latent:
        raise ConfigError(f"{len(factors)} test pictures are too few for a code of {latent} numbers; raise --num")
    test = saved.seen("test", num)
    labels = test["label"] if saved.trained.conditional else None
    codes = saved.trained.encode(test["image"], labels)
    figures = {"num_examples": len(factors), "seed": seed}
    if saved.trained.model.draw is not None:
        draws = saved.trained.draw(test["image"], labels, seed, np.arange(len(factors)))
        train = saved.seen("train", _LEARN * num)
        labels_of_train = train["label"] if saved.trained.conditional else None
        index = np.arange(len(train["image"]))
        learned = saved.trained.draw(train["image"], labels_of_train, seed + _OTHER_NOISE, index)
        figures["total_correlation_bound_nats"] = total_correlation_bound(learned, draws, seed)
        figures["total_correlation_draws_nats"] = total_correlation_gaussian(draws)
    figures["total_correlation_means_nats"] = total_correlation_gaussian(codes)
    figures["mutual_information_gap"] = mutual_information_gap(codes, factors)
    figures |= _of_each_factor(codes, factors, tuple(data.factors))
    figures |= mean(saved.trained.evaluate(test["image"], labels, np.arange(len(factors))))
    write_json(saved.folder / "disentanglement.json", figures)
    return figures


def _of_each_factor(codes: np.ndarray, factors: np.ndarray, names: tuple[str, ...]) -> dict[str, float]:
    varying = [i for i in range(len(names)) if np.ptp(factors[:, i]) > 0]
    return {f"gap_{names[i]}": mutual_information_gap(codes, factors[:, [i]]) for i in varying}
