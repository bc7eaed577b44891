"""From points to configs, and which of them share one compiled program. Imports no JAX."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax import config as configs
from vae_jax.errors import ConfigError
from vae_jax.sweeps.points import Overrides

VARIANT = "variant"  # in a point: the argument of the config


class Point(NamedTuple):
    """One run of a sweep."""

    overrides: Overrides
    config: Mapping[str, Any]  # resolved
    asked: Overrides  # the overrides as they were given, where the command line's are text

    @property
    def fingerprint(self) -> str:
        """What tells this run from all others."""
        return configs.fingerprint(self.config)


def resolve(spec: str, points: Iterable[Mapping[str, Any]], common: Mapping[str, str]) -> list[Point]:
    """Return the run of every point.

    Args:
        spec: the config file, optionally with an argument after a colon.
        points: dotted field -> value, and `variant`.
        common: overrides of all runs, as text.

    Raises:
        ConfigError: a point that is no config, its message has the point; or two that are the same run.
    """
    found: dict[str, Point] = {}
    for overrides in points:
        config = _load(spec, overrides, common)
        point = Point({name: _value(config, name, text) for name, text in overrides.items()}, config, dict(overrides))
        same = found.setdefault(point.fingerprint, point)
        if same is not point:
            raise ConfigError(
                f"two points of the sweep are the same run: {_text(same.overrides)} and {_text(overrides)}"
            )
    return list(found.values())


def grouped(configs_of_runs: Sequence[Mapping[str, Any]], most: int | None = None) -> list[list[int]]:
    """Return the runs of each group, by number: those of one program, at most `most` of them, in order.

    Members of one program differ in their seed and their hyperparameters, which are traced.
    """
    groups: dict[str, list[int]] = {}
    for number, config in enumerate(configs_of_runs):
        groups.setdefault(static(config, number), []).append(number)
    size = most or len(configs_of_runs)
    return [group[first : first + size] for group in groups.values() for first in range(0, len(group), size)]


def static(config: Mapping[str, Any], number: int = 0) -> str:
    """Return what runs of one program have in common, as text."""
    tree = json.loads(configs.to_json(config))
    alone = "pretrain_epochs" in tree["hypers"]  # its prior is fitted to its own codes on the way
    del tree["seed"]
    tree["hypers"] = sorted(tree["hypers"])
    return json.dumps([tree, number if alone else None], sort_keys=True)


def _load(spec: str, overrides: Mapping[str, Any], common: Mapping[str, str]) -> Mapping[str, Any]:
    chosen = {name: value for name, value in overrides.items() if name != VARIANT}
    twice = sorted(chosen.keys() & common.keys())
    if twice:
        raise ConfigError(f"{twice[0]} is set for all runs (--config.{twice[0]}) and by the sweep; leave one out")
    if VARIANT in overrides:
        if ":" in spec:
            raise ConfigError(f"the sweep goes over variants, so --config={spec} must have no argument of its own")
        spec = f"{spec}:variant={overrides[VARIANT]}"
    try:
        return configs.load(spec, {**common, **chosen})
    except ConfigError as error:
        raise ConfigError(f"point {_text(overrides)}: {error}") from error


def _value(config: Mapping[str, Any], name: str, given: Any) -> Any:
    """Return the value of a field in a resolved config, where text that was given has become a number, say."""
    try:
        for key in name.split("."):
            config = config[key]
        return config
    except (KeyError, TypeError):
        return given  # the variant, or what is unset


def _text(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in overrides.items())
