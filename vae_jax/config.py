"""Load a configuration file, apply overrides, fill in defaults and check it: all before JAX is imported.

A config file is Python with `get_config()` or `get_config(arg)`; it returns an `ml_collections.ConfigDict` built from
`configs/base.py`. `None` in a field means 'not set': the component's own default, or a feature that is off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import ml_collections

from vae_jax import build
from vae_jax.config_file import read_config
from vae_jax.config_rules import NEWER, SOURCE_FIELDS, check_fields, check_values, flatten
from vae_jax.errors import ConfigError

# Where a config names a component: its path, and the home in which the name is looked up.
COMPONENTS = {
    "data.corruption": "data.corruptions",
    "data.augmentation": "data.augmentations",
    "optimizer": "training.optimizers",
    "schedule": "training.schedules",
    "model": "models",
    "model.encoder": "nn.encoders",
    "model.decoder": "nn.decoders",
    "model.likelihood": "prob.likelihoods",
    "model.distance": "prob.distances",
    "model.objective": "objectives",
    "model.posterior": "nn.posteriors",
    "model.prior": "nn.priors",
    "model.quantizer": "nn.quantizers",
    "model.regularizer": "regularizers",
    "model.discriminator": "nn.encoders",
}

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", tuple: "whole numbers such as 32,64"}


def load(spec: str, overrides: Mapping[str, Any] | None = None) -> ml_collections.FrozenConfigDict:
    """Return the resolved, checked config of `path/to/config.py` or `path/to/config.py:argument`.

    Args:
        spec: the file, optionally with the argument that its `get_config` takes after a colon.
        overrides: dotted field -> value. Text is read as the field's type ('1e-3', 'true', '(32, 64)' or '32,64').

    Raises:
        ConfigError: naming the field, the value and what is allowed.
    """
    config = read_config(spec)
    config.lock()
    for path, value in (overrides or {}).items():
        _override(config, path, value)
    return resolve(config)


def resolve(config: ml_collections.ConfigDict) -> ml_collections.FrozenConfigDict:
    """Fill every component's defaults in and check all fields; the result is what a run records as config.json.

    Raises:
        ConfigError: see `load`.
    """
    tree = config.to_dict()
    check_fields(tree)
    tree["data"] = _fill_source(tree["data"])
    build.component("data.pixels", tree["data"]["pixels"], "data.pixels")
    tree["model"] = _drop_unset(tree["model"])
    if "encoder" in tree["model"]:
        tree["model"]["decoder"] = _mirror(tree["model"]["encoder"], tree["model"].get("decoder", {}))
    for path, home in COMPONENTS.items():
        parent, key = _parent(tree, path)
        if parent.get(key) is None or parent[key].get("name") is None:
            if path in ("model", "optimizer", "schedule"):
                raise ConfigError(f"{path}.name is not set")
            _refuse_nameless(parent.get(key), path)
            parent[key] = None
        else:
            parent[key] = build.fill(home, parent[key], path)
    tree["model"] = {k: v for k, v in tree["model"].items() if v is not None}
    tree["hypers"] = {k: v for k, v in tree["hypers"].items() if v is not None}
    _check_hypers(tree)
    check_values(tree)
    for group in ("train", "evaluate"):
        tree[group] = {k: v for k, v in tree[group].items() if v is not None or f"{group}.{k}" not in NEWER}
    return ml_collections.FrozenConfigDict(tree)


def to_json(config: Mapping[str, Any]) -> str:
    """Return the canonical JSON of a resolved config: sorted, no NaN, tuples as lists."""
    plain = config.to_dict() if hasattr(config, "to_dict") else config
    return json.dumps(plain, sort_keys=True, indent=2, allow_nan=False) + "\n"


def fingerprint(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the canonical JSON."""
    return hashlib.sha256(to_json(config).encode()).hexdigest()


def from_json(text: str) -> ml_collections.FrozenConfigDict:
    """Rebuild a resolved config that `to_json` wrote."""
    return ml_collections.FrozenConfigDict(json.loads(text))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the fields in which two resolved configs differ, as 'field: old -> new'."""
    a, b = (dict(flatten(json.loads(to_json(c)))) for c in (old, new))
    return [
        f"{k}: {a.get(k, 'unset')} -> {b.get(k, 'unset')}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)
    ]


def parse_arg(arg: str, **defaults: Any) -> dict[str, Any]:
    """Read a config argument such as 'variant=cvae,runlocal' against the names and types of its defaults.

    Raises:
        ConfigError: an unknown name, one given twice or a value of another type.
    """
    values, given = dict(defaults), []
    for item in filter(None, arg.split(",")):
        name, has_value, text = item.partition("=")
        if name in given:
            raise ConfigError(f"config argument {name!r} is given twice")
        given.append(name)
        if name not in defaults:
            raise ConfigError(
                f"config argument {name!r} is unknown{build.nearest(name, defaults)}; known: {', '.join(defaults)}"
            )
        kind = type(defaults[name])
        if kind is not bool and not has_value:
            raise ConfigError(f"config argument {name!r} needs a value: {name}=...")
        values[name] = _parse(text if has_value else "true", kind, f"config argument {name}")
    return values


def _override(config: ml_collections.ConfigDict, path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    node = config
    for name in [*parents, leaf]:
        if not isinstance(node, ml_collections.ConfigDict) or name not in node:
            known = [k for k, _ in flatten(config.to_dict())]
            raise ConfigError(f"config field {path!r} is unknown{build.nearest(path, known)}")
        parent, node = node, node[name]
    if isinstance(node, ml_collections.ConfigDict):
        raise ConfigError(f"config field {path!r} is a group; set one of: {', '.join(f'{path}.{k}' for k in node)}")
    kind = parent.get_type(leaf)
    if isinstance(value, str):
        value = None if value == "None" else _parse(value, kind, path)
    try:
        if isinstance(value, bool) and kind is not bool:  # ml_collections would make it a number
            raise TypeError
        parent[leaf] = value
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}={value!r} has the wrong type: expected {_KINDS.get(kind, kind.__name__)}") from error


def _parse(text: str, kind: type, where: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind is tuple and text.strip():
            return tuple(int(item) for item in text.strip("()[] ").split(",") if item.strip())
        return kind(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{where}={text!r} has the wrong type: expected {_KINDS.get(kind, kind.__name__)}") from error


def _fill_source(data: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the fields of the source that `data.name` names; the others of `config.data` are for all sources."""
    name = data["name"]
    try:
        build.component("data.sources", name, "data.name")
    except ConfigError as error:
        raise ConfigError(f"{error}; other sets of tensorflow-datasets: data.name=tfds, data.dataset={name}") from error
    for_all = {k: v for k, v in data.items() if k not in SOURCE_FIELDS}
    return for_all | build.fill("data.sources", {k: data[k] for k in data if k in SOURCE_FIELDS or k == "name"}, "data")


def _mirror(encoder: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a decoder by what undoes the encoder: the same widths in the other order."""
    build.component("nn.encoders", encoder.get("name"), "model.encoder.name")
    mirrored = {k: v[::-1] if isinstance(v, tuple) else v for k, v in encoder.items()}
    name = given.get("name", mirrored["name"])
    takes = build.component("nn.decoders", name, "model.decoder.name").fields
    return {k: v for k, v in mirrored.items() if k in takes} | {"name": name} | dict(given)


def _drop_unset(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Remove what is None, and the groups of which nothing is left."""
    pruned = {k: _drop_unset(v) if isinstance(v, Mapping) else v for k, v in tree.items()}
    return {k: v for k, v in pruned.items() if v is not None and v != {}}


def _parent(tree: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    *parents, leaf = path.split(".")
    for name in parents:
        tree = tree[name]
    return tree, leaf


def _refuse_nameless(group: Mapping[str, Any] | None, path: str) -> None:
    given = [k for k, v in (group or {}).items() if v is not None]
    if given:
        raise ConfigError(f"{path}.{given[0]} is set, but {path}.name is not")


def _check_hypers(tree: Mapping[str, Any]) -> None:
    """Each hyperparameter that is set must be read by a chosen component, and each one read must be set."""
    readers = {"learning_rate": "every optimizer"}
    for path, home in COMPONENTS.items():
        parent, key = _parent(tree, path)
        if parent.get(key):
            for hyper in build.component(home, parent[key]["name"], f"{path}.name").hypers:
                readers[hyper.replace("_steps", "_epochs")] = f"{path}.name={parent[key]['name']!r}"
    for name in tree["hypers"].keys() - readers.keys():
        raise ConfigError(f"hypers.{name} is set, but nothing in this config reads it; leave it unset")
    for name in readers.keys() - tree["hypers"].keys():
        raise ConfigError(f"hypers.{name} is not set, and {readers[name]} needs it")
