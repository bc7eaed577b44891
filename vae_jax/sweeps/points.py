"""The points of a sweep: what each run changes in a config, as dotted field -> value.

A config file offers a sweep as a function `sweep_<name>()` that returns points, made with the functions here:

    def sweep_beta():
        return grid({"hypers.beta": (0.5, 1.0, 2.0), "seed": range(10)})

`variant` stands for the argument of the config, so that a sweep may go over its variants.
"""

from __future__ import annotations

import itertools
import math
import random as _random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.errors import ConfigError

Overrides = dict[str, Any]

_CALL = re.compile(r"(\w+)\(([^()]*)\)")


class Range(NamedTuple):
    """Where a hyperparameter may lie: numbers of an interval, or one of some values."""

    kind: str  # uniform, log_uniform, whole or choice
    values: tuple  # low and high, both included; or the choices

    @property
    def size(self) -> float:
        """How many values there are."""
        if self.kind == "choice":
            return len(set(map(repr, self.values)))
        return self.values[1] - self.values[0] + 1 if self.kind == "whole" else math.inf

    def draw(self, source: _random.Random) -> Any:
        """Return a value; in log_uniform the logarithm is uniform."""
        if self.kind == "choice":
            return source.choice(self.values)
        low, high = self.values
        if self.kind == "whole":
            return source.randint(low, high)
        if self.kind == "log_uniform":
            return math.exp(source.uniform(math.log(low), math.log(high)))
        return source.uniform(low, high)


def uniform(low: float, high: float) -> Range:
    """Return the interval from low to high."""
    return _interval("uniform", low, high)


def log_uniform(low: float, high: float) -> Range:
    """Return the interval from low to high, above 0, in which every factor is as likely as another."""
    if low <= 0:
        raise ConfigError(f"log_uniform({low}, {high}): expected numbers above 0")
    return _interval("log_uniform", low, high)


def whole(low: int, high: int) -> Range:
    """Return the whole numbers from low to high."""
    if not isinstance(low, int) or not isinstance(high, int):
        raise ConfigError(f"whole({low}, {high}): expected two whole numbers")
    return _interval("whole", low, high)


def choice(*values: Any) -> Range:
    """Return some values to choose from."""
    return Range("choice", values)


def grid(axes: Mapping[str, Iterable[Any]]) -> list[Overrides]:
    """Return all combinations of the values of all fields; the last field changes fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def zipped(axes: Mapping[str, Iterable[Any]]) -> list[Overrides]:
    """Return the first values of all fields, then the second ones, and so on.

    Raises:
        ConfigError: a field has more values than another.
    """
    columns = {name: list(values) for name, values in axes.items()}
    if len({len(values) for values in columns.values()}) > 1:
        counts = ", ".join(f"{name} has {len(values)}" for name, values in columns.items())
        raise ConfigError(f"fields that are zipped need as many values each: {counts}")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def product(*sweeps: Iterable[Mapping[str, Any]]) -> list[Overrides]:
    """Return every point of the first sweep with every one of the second, and so on.

    Raises:
        ConfigError: two sweeps set the same field.
    """
    points = []
    for parts in itertools.product(*map(list, sweeps)):
        names = [name for part in parts for name in part]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ConfigError(f"{twice} is set by two sweeps of a product")
        points.append({name: value for part in parts for name, value in part.items()})
    return points


def random(ranges: Mapping[str, Range], num: int, seed: int = 0) -> list[Overrides]:
    """Return `num` different points drawn at random; for the same seed the first ones are the same, whatever `num`.

    Raises:
        ConfigError: there are not so many.
    """
    there = math.prod(where.size for where in ranges.values())
    if num > there:
        raise ConfigError(f"{num} points are asked for, and {', '.join(ranges)} have {there:.0f} between them")
    source, points = _random.Random(seed), {}
    while len(points) < num:
        point = {name: where.draw(source) for name, where in ranges.items()}
        points.setdefault(repr(point), point)
    return list(points.values())


def parse_values(text: str) -> list[Any]:
    """Read the values of a field on the command line: `1,2,4`, `(500,),(200,200)`, `range(10)`, `geomspace(1,100,3)`.

    What is no call stays text, which the config reads as the type of its field.

    Raises:
        ConfigError: nothing there, or a call that is not known.
    """
    values = []
    for item in filter(None, map(str.strip, _split(text))):
        call = _CALL.fullmatch(item)
        values += _called(_SERIES, call, item) if call else [item]
    if not values:
        raise ConfigError(f"{text!r} holds no value; expected such as 1,2,4 or range(10)")
    return values


def parse_range(text: str) -> Range:
    """Read where a field may lie: `uniform(0,1)`, `log_uniform(1e-4,1e-2)`, `whole(2,64)`, or choices `a,b,c`.

    Raises:
        ConfigError: see `parse_values`.
    """
    call = _CALL.fullmatch(text.strip())
    if call and call[1] in _RANGES:
        return _called(_RANGES, call, text)
    return choice(*parse_values(text))


def parse_axes(flags: Sequence[str], name: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    """Read flags such as `hypers.beta=1,2,4` into field -> what `parse` makes of the rest.

    Raises:
        ConfigError: no `=`, or a field given twice.
    """
    axes: dict[str, Any] = {}
    for flag in flags:
        field, has_values, text = flag.partition("=")
        if not has_values or not field:
            raise ConfigError(f"{name} {flag!r} is not of the form field=values, such as hypers.beta=1,2,4")
        if field in axes:
            raise ConfigError(f"{name} {field}=... is given twice; put all values into one")
        axes[field] = parse(text)
    return axes


def _interval(kind: str, low: Any, high: Any) -> Range:
    if not low < high or not all(map(math.isfinite, (low, high))):
        raise ConfigError(f"{kind}({low}, {high}): expected two numbers, the lower one first")
    return Range(kind, (low, high))


def _linspace(start: float, stop: float, num: int) -> list[float]:
    return [start + (stop - start) * i / max(num - 1, 1) for i in range(num)]


def _geomspace(start: float, stop: float, num: int) -> list[float]:
    return [start * (stop / start) ** (i / max(num - 1, 1)) for i in range(num)]


_SERIES: dict[str, Callable[..., Any]] = {
    "range": lambda *args: list(range(*args)),
    "linspace": _linspace,
    "geomspace": _geomspace,
}
_RANGES: dict[str, Callable[..., Any]] = {"uniform": uniform, "log_uniform": log_uniform, "whole": whole}


def _called(known: Mapping[str, Callable[..., Any]], call: re.Match[str], text: str) -> Any:
    if call[1] not in known:
        raise ConfigError(f"{text!r}: {call[1]}() is unknown; known: {', '.join(known)}")
    try:
        return known[call[1]](*(_number(item) for item in call[2].split(",") if item.strip()))
    except ConfigError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"{text!r} is no series: {error}") from error


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _split(text: str) -> list[str]:
    """Split at commas outside of parentheses."""
    parts, depth = [""], 0
    for char in text:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    if depth:
        raise ConfigError(f"{text!r}: parentheses do not match")
    return parts
