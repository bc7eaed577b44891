"""This library as a user runs it: a config, and the compiled program that `scripts/train.py` makes of it."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vae_jax import config as configs
from vae_jax.benchmark.settings import KERNEL, STRIDE, WARM_UP, Setting, Unavailable, member_rates
from vae_jax.data.dataset import Dataset
from vae_jax.data.feed import make_feed, make_spec
from vae_jax.data.load import load_dataset
from vae_jax.evaluation.summary import SEED
from vae_jax.parts import Parts, put_together
from vae_jax.run import use_compilation_cache
from vae_jax.streams import stream
from vae_jax.trained import Trained, make_model
from vae_jax.training.member_mesh import one_device_per_core
from vae_jax.training.members import Callbacks, Member, best_of_members
from vae_jax.types import TrainState

_BASE = pathlib.Path(__file__).parents[2] / "configs" / "base.py"


def make_config(setting: Setting, epochs: int = 1000) -> Any:
    """Return the resolved config of a setting: configs/base.py, and what differs from it."""
    net = setting.sizes
    fields: dict[str, Any] = {
        "seed": setting.seed,
        "data.name": "npz",
        "data.seed": setting.seed,
        "model.latent": net.latent,
        "model.encoder.name": net.kind,
        "model.encoder.hidden": net.hidden,
        "model.likelihood.name": "bernoulli",
        "model.objective.name": "elbo",
        "model.posterior.name": "diagonal",
        "model.prior.name": "standard_normal",
        "hypers.beta": 1.0,
        "hypers.kl_warmup_epochs": 0.0,
        "hypers.learning_rate": setting.learning_rate,
        "train.precision": setting.precision,
        "evaluate.precision": setting.precision,
        "train.batch_size": setting.batch_size,
        "train.epochs": epochs,
    }
    if net.channels:
        fields |= {"model.encoder.channels": net.channels, "model.encoder.kernel": KERNEL}
        fields["model.encoder.stride"] = STRIDE
    if net.depth:
        fields["model.encoder.depth"] = net.depth
    return configs.load(str(_BASE), fields)


def train(setting: Setting) -> Callable[[int], dict[str, float]]:
    """Return run(steps), by chunks of `train.steps_per_call` as the training loop takes them."""
    found = len(jax.local_devices())
    if setting.devices and setting.devices != found:
        raise Unavailable(f"devices: {setting.devices} are asked for, JAX finds {found}")
    config, _, parts = _put_together(setting)
    return _trainer(config, parts)[0]


def likelihood(setting: Setting) -> Callable[[int], dict[str, float]]:
    """Return run(pictures): -log p(x) of the first so many of the test split, of a model trained for a moment."""
    config, dataset, parts = _put_together(setting)
    run, state = _trainer(config, parts)
    run(WARM_UP)
    trained = Trained(config, parts.spec, parts.model, state().params, state().stats)
    images = np.asarray(dataset.splits["test"].images, np.float32)

    def measure(pictures: int) -> dict[str, float]:
        return {"loss": float(trained.neg_log_likelihood(images[:pictures], num_samples=setting.num_samples).mean())}

    return measure


def members(setting: Setting) -> Callable[[int], dict[str, float]]:
    """Return run(steps), whole epochs of all members in one program, from the start.

    Its images_per_second is that of all members together after the first epoch.
    """
    use_compilation_cache()
    one_device_per_core()
    config = make_config(setting)
    dataset = load_dataset(config, setting.data)
    model = make_model(config, make_spec(dataset, config["data"]["pixels"]))
    feeds = {name: make_feed(config["data"], dataset, name) for name in ("train", "validation")}
    examples = [np.arange(feeds[name].size) for name in ("train", "validation")]
    rates = enumerate(member_rates(setting.num_members))
    group = [Member(seed, *examples, {"learning_rate": rate}) for seed, rate in rates]
    per_epoch = feeds["train"].size // setting.batch_size

    def run(steps: int) -> dict[str, float]:
        epochs, ends = steps // per_epoch, []

        def write(step: int, split: str, rows: Mapping[int, Mapping[str, float]]) -> None:
            if split == "train" and step % per_epoch == 0:
                ends.append((time.perf_counter(), float(np.mean([row["loss"] for row in rows.values()]))))

        callbacks = Callbacks(write=write)
        best_of_members(model, make_config(setting, epochs), feeds, group, stream(SEED, "evaluate"), callbacks)
        images = len(group) * per_epoch * setting.batch_size * (len(ends) - 1)
        return {"loss": ends[-1][1], "images_per_second": images / (ends[-1][0] - ends[0][0])}

    return run


def _put_together(setting: Setting) -> tuple[Any, Dataset, Parts]:
    use_compilation_cache()
    config = make_config(setting)
    dataset = load_dataset(config, setting.data)
    return config, dataset, put_together(config, dataset)


def _trainer(config: Any, parts: Parts) -> tuple[Callable[[int], dict[str, float]], Callable[[], TrainState]]:
    """Return run(steps), and what returns the state after them."""
    tree = jax.block_until_ready(parts.start())
    tree["state"] = TrainState(**tree["state"])
    per_call, done = config["train"]["steps_per_call"], 0

    def run(steps: int) -> dict[str, float]:
        nonlocal done
        losses, end = [], done + steps
        while done < end:
            stop = min(done + per_call, end)
            tree["state"], metrics = parts.program.chunk(tree["state"], done, stop)
            losses.append(metrics["loss"])
            done = stop
        return {"loss": float(np.concatenate(losses).mean())}

    return run, lambda: tree["state"]
