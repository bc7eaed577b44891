"""The figures of a run beside those of the same run done again: equal to the bit, or within a tolerance.

The tolerance is of the difference relative to the scale of a figure. A whole number, such as that of active units, may
also differ by one. Rounding grows as training goes on, so the first loss has to be much nearer: one of another seed is
not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.config_rules import flatten

_RESULTS = ("test", "baselines", "best_step", "steps", "num_parameters", "state_sha256")  # the rest is speed
_BITS_ONLY = ("best_step", "state_sha256")  # of two nearly equal validations the other may be the better one
_EQUAL = ("step", "split", "steps", "num_parameters")  # not measured: of another model, or of another training
_FIRST = 1 / 20  # of the tolerance, for the first training loss
_SHOWN = 12


class Gap(NamedTuple):
    """A figure that came out otherwise."""

    figure: str
    then: Any
    now: Any
    relative: float | None  # |now - then| over the scale of the figure; None where that makes no sense


class Compared(NamedTuple):
    """What a comparison found."""

    count: int  # of the figures that were compared
    gaps: list[Gap]  # those that are not as they must be
    largest: float  # relative difference of all figures

    def __add__(self, other: Compared) -> Compared:
        return Compared(self.count + other.count, self.gaps + other.gaps, max(self.largest, other.largest))


def compare_rows(
    then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], tolerance: float | None
) -> Compared:
    """Compare two metrics.jsonl row by row; the scale of a figure is the largest value of its column.

    Args:
        then: rows of the first run.
        now: rows of the second.
        tolerance: of the relative difference; None where all must be equal to the bit.
    """
    columns: dict[tuple[str, str], list[tuple[Any, Any, Any]]] = {}
    for a, b in itertools.zip_longest(then, now, fillvalue={}):
        for name in {**a, **b}:
            where = f"{a.get('split', b.get('split'))} {name}, step {a.get('step', b.get('step'))}"
            columns.setdefault((str(a.get("split")), name), []).append((where, a.get(name), b.get(name)))
    parts = [
        _first_of_each(_compare(column, _scale(column), None if name in _EQUAL else tolerance))
        for (_, name), column in columns.items()
    ]
    if tolerance is not None:
        first = columns.get(("train", "loss"), [])[:1]
        parts.append(_compare(first, _scale(first), _FIRST * tolerance))
    return _sum(parts)


def compare_results(then: Mapping[str, Any], now: Mapping[str, Any], tolerance: float | None) -> Compared:
    """Compare two results.json, but for speed and times; see `compare_rows`."""
    a, b = (dict(flatten({k: v for k, v in results.items() if k in _RESULTS})) for results in (then, now))
    names = [name for name in {**a, **b} if tolerance is None or name not in _BITS_ONLY]
    triples = [(name, a.get(name), b.get(name)) for name in names]
    return _sum(_compare([one], _scale([one]), None if one[0] in _EQUAL else tolerance) for one in triples)


def compare_trees(then: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray], tolerance: float | None) -> Compared:
    """Compare arrays by path; without a tolerance byte by byte, else the norm of the difference over the norm."""
    gaps, largest = [], 0.0
    for name in {**then, **now}:
        a, b = then.get(name), now.get(name)
        if a is None or b is None or (a.shape, a.dtype) != (b.shape, b.dtype):
            gaps.append(Gap(name, *("none" if x is None else f"{x.dtype}{list(x.shape)}" for x in (a, b)), None))
            continue
        wide = np.asarray(a, np.float64), np.asarray(b, np.float64)
        norm = float(np.linalg.norm(wide[0]))
        relative = float(np.linalg.norm(wide[1] - wide[0])) / (norm or 1.0)
        largest = max(largest, relative)
        if a.tobytes() != b.tobytes() if tolerance is None else not relative <= tolerance:
            gaps.append(Gap(f"{name}, norm", norm, float(np.linalg.norm(wide[1])), relative))
    return Compared(len({**then, **now}), gaps, largest)


def table(gaps: Sequence[Gap]) -> str:
    """Return the gaps as aligned lines, the largest first; beyond a dozen they are counted."""
    ranked = sorted(gaps, key=lambda gap: -math.inf if gap.relative is None else -gap.relative)
    rows = [("figure", "then", "now", "difference")]
    for gap in ranked[:_SHOWN]:
        difference = "" if gap.relative is None else f"{gap.relative:.2g}"
        rows.append((gap.figure, _short(gap.then), _short(gap.now), difference))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines + [f"and {len(ranked) - _SHOWN} more"] * (len(ranked) > _SHOWN))


def _compare(triples: Sequence[tuple[str, Any, Any]], scale: float, tolerance: float | None) -> Compared:
    gaps, largest = [], 0.0
    for name, then, now in triples:
        relative, counts = None, all(isinstance(value, int) for value in (then, now))
        if _is_number(then) and _is_number(now):
            relative = abs(now - then) / scale
            largest = max(largest, relative)
        near = tolerance is not None and relative is not None and relative <= max(tolerance, counts / scale)
        if then != now and not near:
            gaps.append(Gap(name, *(x if x is None or _is_number(x) else str(x) for x in (then, now)), relative))
    return Compared(len(triples), gaps, largest)


def _first_of_each(part: Compared) -> Compared:
    """Return one gap for a column: where it began."""
    more = len(part.gaps) - 1
    first = [gap._replace(figure=gap.figure + (f" and {more} more" if more else "")) for gap in part.gaps[:1]]
    return part._replace(gaps=first)


def _sum(parts: Iterable[Compared]) -> Compared:
    return sum(parts, Compared(0, [], 0.0))


def _scale(triples: Sequence[tuple[str, Any, Any]]) -> float:
    return max((abs(value) for _, *pair in triples for value in pair if _is_number(value)), default=0.0) or 1.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _short(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.9g}" if isinstance(value, float) else str(value)[:20]
