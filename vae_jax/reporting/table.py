"""The final table of a run, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def results_table(results: Mapping[str, Any]) -> str:
    """Return test figures and baselines as aligned lines; the unit of a figure is in its name."""
    rows = [("test", ""), *_figures(results["test"])]
    rows.append(("baselines", ""))
    rows += [(f"  {name}", _number(value)) for name, value in results["baselines"].items()]
    rows.append(("run", ""))
    for name in ("num_parameters", "best_step", "images_per_second", "seconds_to_first_step", "seconds_total"):
        if results.get(name) is not None:
            rows.append((f"  {name}", _number(results[name])))
    return "\n".join(_aligned(rows))


def figure_lines(figures: Mapping[str, Any]) -> list[str]:
    """Return figures of one split as aligned lines, each with its standard error where there is one."""
    return _aligned(_figures(figures))


def _figures(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in figures.items():
        if not name.endswith(("_standard_error", "_num_samples")):
            error = figures.get(f"{name}_standard_error")
            rows.append((f"  {name}", _number(value) + (f" ± {error:.2g}" if error else "")))
    if "nll_num_samples" in figures:
        rows.append(("  importance samples k", str(figures["nll_num_samples"])))
    return rows


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}".rstrip() for name, value in rows]


def _number(value: float | int | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"
