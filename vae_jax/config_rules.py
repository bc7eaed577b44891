"""The values that a config field may take, and the relations between fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from vae_jax.errors import ConfigError

ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "softplus")

Rule = tuple[Callable[[Any], bool], str]


def _whole(low: int, high: int = 2**31 - 1) -> Rule:
    return (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
        f"a whole number from {low} to {high}",
    )


def _number(test: Callable[[float], bool], text: str) -> Rule:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) and test(v), text


def _one_of(*options: str) -> Rule:
    return lambda v: v in options, "one of " + ", ".join(options)


_POSITIVE = _number(lambda v: v > 0, "a number above 0")
_NOT_NEGATIVE = _number(lambda v: v >= 0, "a number, 0 or more")
_FRACTION = _number(lambda v: 0 <= v < 1, "a number from 0 up to, not including, 1")
_PROBABILITY = _number(lambda v: 0 <= v <= 1, "a number from 0 to 1")
_COUNT = _whole(1)
_SEED = _whole(0, 2**32 - 1)
_FLAG = (lambda v: isinstance(v, bool), "true or false")
_WIDTHS = (
    lambda v: isinstance(v, tuple | list) and all(_COUNT[0](w) for w in v),
    "widths of 1 or more, such as (500, 200), or () for none",
)
_CHANNELS = (lambda v: _WIDTHS[0](v) and len(v) > 0, "channel counts of 1 or more, such as (32, 64)")

# By full path, else by the last name in the path.
_RULES: dict[str, Rule] = {
    "seed": _SEED,
    "latent": _COUNT,
    "num_samples": _COUNT,
    "condition": _FLAG,
    "hidden": _WIDTHS,
    "channels": _CHANNELS,
    "kernel": _COUNT,
    "stride": _COUNT,
    "activation": _one_of(*ACTIVATIONS),
    "scale": _POSITIVE,
    "min_scale": _POSITIVE,
    "probability": _PROBABILITY,
    "learning_rate": _POSITIVE,
    "beta": _NOT_NEGATIVE,
    "kl_warmup_epochs": _NOT_NEGATIVE,
    "weight_decay": _NOT_NEGATIVE,
    "b1": _FRACTION,
    "b2": _FRACTION,
    "eps": _POSITIVE,
    "momentum": _FRACTION,
    "warmup_epochs": _NOT_NEGATIVE,
    "final_fraction": _PROBABILITY,
    "batch_size": _COUNT,
    "epochs": _COUNT,
    "steps_per_call": _COUNT,
    "eval_every_epochs": _COUNT,
    "patience_epochs": _COUNT,
    "select": _one_of("best", "last"),
    "clip_norm": _POSITIVE,
    "ema_decay": _FRACTION,
    "keep": _COUNT,
    "every_seconds": _NOT_NEGATIVE,
    "num_importance_samples": _COUNT,
}


def check_values(tree: Mapping[str, Any]) -> None:
    """Check every field of a resolved config tree.

    Raises:
        ConfigError: naming the field, its value and what is allowed.
    """
    _check_leaves(tree, "")
    train, epochs = tree["train"], tree["train"]["epochs"]
    for path, value in (
        ("hypers.kl_warmup_epochs", tree["hypers"].get("kl_warmup_epochs", 0)),
        ("schedule.warmup_epochs", tree["schedule"].get("warmup_epochs", 0)),
        ("train.eval_every_epochs", train["eval_every_epochs"]),
    ):
        if value > epochs:
            raise ConfigError(f"{path}={value} is more than train.epochs={epochs}")
    for part in ("encoder", "decoder"):
        net = tree["model"].get(part) or {}
        if net.get("stride", 1) > net.get("kernel", net.get("stride", 1)):
            raise ConfigError(
                f"model.{part}.stride={net['stride']} skips pixels: it must not exceed kernel={net['kernel']}"
            )


def _check_leaves(tree: Mapping[str, Any], prefix: str) -> None:
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            _check_leaves(value, f"{path}.")
        elif value is not None:
            test, allowed = _RULES.get(key, (lambda v: not isinstance(v, float) or math.isfinite(v), "a finite number"))
            if not test(value):
                raise ConfigError(f"{path}={value!r} is not allowed: expected {allowed}")
