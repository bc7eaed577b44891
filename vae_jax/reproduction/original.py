"""The run that is to be done again, as its folder tells. Imports no JAX."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

from vae_jax import config as configs
from vae_jax.errors import ConfigError
from vae_jax.reproduction.surroundings import Difference
from vae_jax.training.folder import read_config, read_manifest, read_results


class Original(NamedTuple):
    """What a finished run left."""

    folder: pathlib.Path
    config: Mapping[str, Any]  # resolved by the code at hand
    changed: list[Difference]  # what that changed of it
    manifest: Mapping[str, Any]


def read_original(folder: pathlib.Path) -> Original:
    """Return a run folder's config and manifest.

    Raises:
        ConfigError: it is no run that ended by itself.
        DataError: its config.json is not the one that it began with.
    """
    folder = folder.expanduser().resolve()
    recorded, manifest = read_config(folder), read_manifest(folder)
    if not (folder / "results.json").exists():
        raise ConfigError(f"{folder} holds a run that is not finished (no results.json); finish it first")
    if stopped := read_results(folder).get("stopped"):
        raise ConfigError(
            f"{folder} was stopped before its end ({stopped}); only a run that ended by itself is compared"
        )
    config = configs.resolve(ml_collections.ConfigDict(json.loads(configs.to_json(recorded))))
    changed = configs.differences(recorded, config)
    split = [(name, *values.split(" -> ", 1)) for name, values in (one.split(": ", 1) for one in changed)]
    return Original(folder, config, [Difference(f"config.{name}", a, b, True) for name, a, b in split], manifest)
