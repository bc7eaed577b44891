"""The values that a config field may take, and the relations between fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vae_jax.build import nearest
from vae_jax.errors import ConfigError

ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "softplus")

_LARGEST = 3.4e38  # of float32

Rule = tuple[Callable[[Any], bool], str]


def _whole(low: int, high: int = 2**31 - 1) -> Rule:
    return (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
        f"a whole number from {low} to {high}",
    )


def _number(test: Callable[[float], bool], text: str) -> Rule:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= _LARGEST and test(v), text


def _one_of(*options: str) -> Rule:
    return lambda v: v in options, "one of " + ", ".join(options)


_POSITIVE = _number(lambda v: v > 0, "a number above 0")
_NOT_NEGATIVE = _number(lambda v: v >= 0, "a number, 0 or more")
_FRACTION = _number(lambda v: 0 <= v < 1, "a number from 0 up to, not including, 1")
_PROBABILITY = _number(lambda v: 0 <= v <= 1, "a number from 0 to 1")
_SHARE = _number(lambda v: 0 < v < 1, "a number between 0 and 1")
_COUNT = _whole(1)
_SEED = _whole(0, 2**32 - 1)
_FLAG = (lambda v: isinstance(v, bool), "true or false")
_WIDTHS = (
    lambda v: isinstance(v, tuple | list) and all(_COUNT[0](w) for w in v),
    "widths of 1 or more, such as (500, 200), or () for none",
)
_CHANNELS = (lambda v: _WIDTHS[0](v) and len(v) > 0, "channel counts of 1 or more, such as (32, 64)")

_TEXT = (lambda v: isinstance(v, str), "text")


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


_PLAIN = (_plain, "text, true, false, a finite number or a tuple of these")

# The fields outside the components, by path. Those in _OPTIONAL may be None.
_FIXED: dict[str, Rule] = {
    "seed": _SEED,
    "data.name": _TEXT,
    "data.pixels": _TEXT,
    "data.seed": _SEED,
    "data.memory_mb": _NOT_NEGATIVE,
    "data.workers": _whole(0, 64),
    "data.pairs": _whole(0),
    "train.batch_size": _COUNT,
    "train.epochs": _COUNT,
    "train.steps_per_call": _COUNT,
    "train.eval_every_epochs": _COUNT,
    "train.patience_epochs": _COUNT,
    "train.halve_patience_epochs": _COUNT,
    "train.select": _one_of("best", "last"),
    "train.clip_norm": _POSITIVE,
    "train.ema_decay": _FRACTION,
    "train.precision": _one_of("fp32", "bf16"),
    "train.shard_params": _FLAG,
    "checkpoint.keep": _COUNT,
    "checkpoint.every_seconds": _NOT_NEGATIVE,
    "evaluate.batch_size": _COUNT,
    "evaluate.num_importance_samples": _COUNT,
    "evaluate.precision": _one_of("fp32", "bf16"),
}
# The fields that some sources of data take, and others do not.
_OF_SOURCES: dict[str, Rule] = {
    "data.dataset": _TEXT,
    "data.subset": _TEXT,
    "data.size": (lambda v: _WIDTHS[0](v) and len(v) in (1, 2), "a side or height, width such as 64 or 28,20"),
    "data.fit": _one_of("crop", "pad", "stretch"),
    "data.channels": (lambda v: v in (1, 3) and not isinstance(v, bool), "1 for gray or 3 for colour"),
    "data.on_error": _one_of("stop", "skip"),
    "data.validation": _SHARE,
    "data.test": _SHARE,
}
SOURCE_FIELDS = frozenset(path.removeprefix("data.") for path in _OF_SOURCES)
_FIXED |= _OF_SOURCES
# Left out where they are unset, so that older configs keep their fingerprint.
NEWER = ("train.precision", "train.shard_params", "evaluate.precision")
_OPTIONAL = (
    *("data.pairs", *NEWER),
    *(f"train.{field}" for field in ("patience_epochs", "halve_patience_epochs", "clip_norm", "ema_decay")),
    *_OF_SOURCES,
)

_PAIRED = ("ada_gvae",)  # models that see the partner of each example

_WEIGHTS = (
    *("capacity", "capacity_epochs", "discrete_capacity", "free_bits", "tc_weight", "prior_weight", "dip_diagonal"),
    *("dip_off_diagonal", "adversary_weight", "sparsity_weight", "contraction_weight", "code_weight"),
    *("decoder_weight", "gradient_weight", "commitment"),
)

# The fields of components and the hyperparameters, by name or whole path. Which of them are there, the components say.
_GROUPS = ("model", "hypers", "optimizer", "schedule", "data.corruption", "data.augmentation")
_RULES: dict[str, Rule] = {
    "name": _TEXT,
    "latent": _COUNT,
    "num_samples": _COUNT,
    "condition": _FLAG,
    "hidden": _WIDTHS,
    "channels": _CHANNELS,
    "kernel": _COUNT,
    **dict.fromkeys(("model.objective.kernel", "model.regularizer.kernel"), _one_of("rbf", "imq")),
    "stride": _COUNT,
    "patch": _COUNT,
    "width": _COUNT,
    "depth": _COUNT,
    "activation": _one_of(*ACTIVATIONS),
    "scale": _POSITIVE,
    "min_scale": _POSITIVE,
    "probability": _PROBABILITY,
    "size": _COUNT,
    "sigma": _number(lambda v: 0 < v <= 1000, "a number above 0, up to 1000"),
    "learning_rate": _POSITIVE,
    "beta": _NOT_NEGATIVE,
    "kl_warmup_epochs": _NOT_NEGATIVE,
    "pretrain_epochs": _NOT_NEGATIVE,
    "epochs": _COUNT,
    "weight_decay": _NOT_NEGATIVE,
    "gamma": _POSITIVE,
    "k_rate": _POSITIVE,
    **dict.fromkeys(_WEIGHTS, _NOT_NEGATIVE),
    "activity": _SHARE,
    "elbo_share": _PROBABILITY,
    "kl_cycle_epochs": _POSITIVE,
    "alpha": _number(math.isfinite, "a number"),
    **dict.fromkeys(("num_groups", "components", "codes", "positions", "num_directions"), _COUNT),
    **dict.fromkeys(("prior_depth", "prior_width", "num_components"), _COUNT),
    "categories": _whole(2),
    "temperature": _POSITIVE,
    "decay": _SHARE,
    "estimator": _one_of("exact", "weighted", "stratified"),
    "levels": (lambda v: _WIDTHS[0](v) and v and min(v) > 1, "numbers of levels of 2 or more, such as 8,5,5"),
    "above": (lambda v: _WIDTHS[0](v) and len(v) in (1, 2), "sizes of one or two layers, such as (16, 8)"),
    "spectral_norm": _FLAG,
    "b1": _FRACTION,
    "b2": _FRACTION,
    "eps": _POSITIVE,
    "momentum": _FRACTION,
    "warmup_epochs": _NOT_NEGATIVE,
    "final_fraction": _PROBABILITY,
}


# Hyperparameters of losses that compare the examples of a batch.
_OF_BATCHES = {"gamma", "tc_weight", "adversary_weight", "prior_weight", "dip_diagonal", "activity"}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, leaf) of a nested dict."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def check_fields(tree: Mapping[str, Any]) -> None:
    """Check that a config has every field outside its components, and none that nothing reads.

    Raises:
        ConfigError: naming the field.
    """
    given = dict(flatten(tree))
    for path in given:
        if path not in (*_FIXED, *_GROUPS) and not path.startswith(tuple(f"{group}." for group in _GROUPS)):
            raise ConfigError(f"config field {path!r} is unknown{nearest(path, _FIXED)}")
    for path in _FIXED:
        if given.get(path) is None and path not in _OPTIONAL:
            raise ConfigError(f"{path} is not set; expected {_FIXED[path][1]}")
    for group in _GROUPS[:-2]:
        if not isinstance(tree.get(group), Mapping):
            raise ConfigError(f"{group} is not set; expected a group of fields as in configs/base.py")


def check_values(tree: Mapping[str, Any]) -> None:
    """Check every field of a resolved config tree.

    Raises:
        ConfigError: naming the field, its value and what is allowed.
    """
    for path, value in flatten(tree):
        test, allowed = _FIXED.get(path) or _RULES.get(path) or _RULES.get(path.rpartition(".")[2], _PLAIN)
        if value is not None and not test(value):
            raise ConfigError(f"{path}={value!r} is not allowed: expected {allowed}")
    epochs = tree["train"]["epochs"]
    for path, value in (
        ("hypers.kl_warmup_epochs", tree["hypers"].get("kl_warmup_epochs", 0)),
        ("hypers.pretrain_epochs", tree["hypers"].get("pretrain_epochs", 0)),
        ("schedule.warmup_epochs", tree["schedule"].get("warmup_epochs", 0)),
    ):
        if value > epochs:
            raise ConfigError(f"{path}={value} is more than train.epochs={epochs}")
    if tree["train"]["select"] == "last" and tree["train"]["patience_epochs"] is not None:
        raise ConfigError(
            "train.patience_epochs needs train.select=best: with last every validation is the best so far"
        )
    _check_pairs(tree)
    if "pretrain_epochs" in tree["hypers"] and tree["train"]["ema_decay"] is not None:
        raise ConfigError(
            "train.ema_decay is not for a model with hypers.pretrain_epochs: the average would hold what its prior was "
            "before it is fitted; leave it unset"
        )
    for rival in ("gamma", "tc_weight", "adversary_weight"):
        if rival in tree["hypers"]:
            _check_players(tree["train"], rival)
    if tree["train"]["batch_size"] < 2 and not _OF_BATCHES.isdisjoint(tree["hypers"]):
        raise ConfigError("train.batch_size=1 leaves nothing to compare an example with; expected 2 or more")
    if tree["schedule"].get("warmup_epochs", 0) == epochs:
        raise ConfigError(f"schedule.warmup_epochs={epochs} leaves nothing of train.epochs={epochs} for its descent")
    for part in ("encoder", "decoder"):
        net = tree["model"].get(part) or {}
        if net.get("stride", 1) > net.get("kernel", net.get("stride", 1)):
            raise ConfigError(
                f"model.{part}.stride={net['stride']} skips pixels: it must not exceed kernel={net['kernel']}"
            )


def _check_pairs(tree: Mapping[str, Any]) -> None:
    """Pairs, and models that learn from them, go together."""
    name, pairs = tree["model"]["name"], tree["data"].get("pairs")
    if name in _PAIRED and pairs is None:
        raise ConfigError(f"model.name={name!r} learns from pairs: set data.pairs, such as 1")
    if name not in _PAIRED and pairs is not None:
        raise ConfigError(f"data.pairs={pairs} is set, but model.name={name!r} does not learn from pairs")


def _check_players(train: Mapping[str, Any], rival: str) -> None:
    """What players with a loss each need; `rival` is a hyperparameter that only they have."""
    if train["select"] != "last":
        raise ConfigError(
            f"train.select={train['select']!r} is not for a model with hypers.{rival}: the losses of its players do "
            "not tell which parameters are best; set train.select=last"
        )
