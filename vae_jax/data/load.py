"""From `config.data` to a checked data set, and the checks that need its size. Imports no JAX."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from vae_jax.build import build, component
from vae_jax.data.cache import Place, default_cache_dir
from vae_jax.data.dataset import Dataset, checked
from vae_jax.errors import ConfigError


def load_dataset(config: Mapping[str, Any], folder: str | pathlib.Path | None) -> Dataset:
    """Return the data set that a resolved config names.

    Args:
        config: the whole resolved config.
        folder: where the original files are, or None for embedded data.

    Raises:
        DataError: missing or damaged files, values out of range.
        ConfigError: the config asks for what the data do not have.
        UserError: the cache folder cannot be written.
    """
    dataset = open_dataset(config["data"], folder)
    size, batch = dataset.sizes["train"], config["train"]["batch_size"]
    if batch > size:
        raise ConfigError(f"train.batch_size={batch} is more than the {size} training examples of {dataset.name!r}")
    if config["model"].get("condition") and not dataset.num_classes:
        raise ConfigError(f"model.condition=True needs labels, and data {dataset.name!r} have none")
    return dataset


def open_dataset(
    config: Mapping[str, Any], folder: str | pathlib.Path | None, say: Callable[[str], None] = print
) -> Dataset:
    """Return the data set that a resolved `config.data` names; `say` is told of what takes time.

    Raises:
        DataError: missing or damaged files, values out of range.
        UserError: the cache folder cannot be written.
    """
    place = Place(pathlib.Path(folder).expanduser() if folder else None, default_cache_dir(), say)
    fields = component("data.sources", config["name"], "data.name").fields
    source = build("data.sources", {"name": config["name"], **{name: config[name] for name in fields}})
    return checked(source(place))
