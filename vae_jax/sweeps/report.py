"""What a sweep says of itself: where its runs stand, means over seeds, pictures."""

from __future__ import annotations

import collections
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from vae_jax.reporting import sweep_figures as figures
from vae_jax.reporting.figures import save_lines
from vae_jax.storage import replacing, subfolder
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.table import Row, best, has_ended_with, over_seeds, selection, swept

_STATES = (sweeps.DONE, sweeps.STOPPED, sweeps.RUNNING, sweeps.WAITING, sweeps.FAILED)


def status_text(path: pathlib.Path) -> str:
    """Return how many runs stand where, and each that has failed with its error."""
    running = sweeps.live_runs(path)
    states = {name: sweeps.status(path, name, running) for name in sweeps.run_names(path)}
    lines = [counts_text(collections.Counter(states.values()), len(states))]
    failed = [name for name, state in states.items() if state == sweeps.FAILED]
    for name in failed:
        failure, point = sweeps.read_failure(path, name), sweeps.read_point(path, name)["overrides"]
        setting = ", ".join(f"{field}={value}" for field, value in point.items())
        lines.append(f"  runs/{name} ({setting}): {failure['message']} (code {failure['exit_code']})")
    if failed:
        lines.append("  --retry runs those that have failed again")
    return "\n".join(lines)


def counts_text(counts: Mapping[str, int], total: int) -> str:
    """Return '50 runs: 20 done, 30 waiting'."""
    return f"{total} runs: " + ", ".join(f"{counts[state]} {state}" for state in _STATES if counts.get(state))


def table_text(rows: Sequence[Row], metric: str, selected_by: str | None) -> str:
    """Return the means of a figure over seeds, and the run that validation would choose.

    Raises:
        ConfigError: no run has the figure.
    """
    means = over_seeds(rows, metric)
    header = [*swept(rows), metric, "± standard error", "runs"]
    cells = [header] + [
        [_short(row[name]) for name in swept(rows)]
        + [_short(row["mean"]), _short(row["standard_error"], 2), f"{row['finished']} of {row['runs']}"]
        for row in means
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    chosen, by = best(rows, selected_by), selected_by or selection(rows)
    if chosen:
        setting = ", ".join(f"{name}={_short(chosen.get(name))}" for name in [*swept(rows), "seed"])
        lines.append(f"best by {by} = {_short(chosen[by])}: {chosen['folder']} ({setting})")
    return "\n".join(lines)


def draw(path: pathlib.Path, rows: Sequence[Row], metric: str) -> list[pathlib.Path]:
    """Write the pictures that suit the number of fields that vary, and return their paths.

    One field: its effect, with standard errors. Two: a heat map. Two or more: parallel coordinates of all runs. Of a
    search also the lowest figure of those that it goes by, over its runs.

    Raises:
        ConfigError: no run has the figure.
    """
    means = [row for row in over_seeds(rows, metric) if row["mean"] is not None]
    varied = [name for name in swept(rows) if len({str(row.get(name)) for row in rows}) > 1]
    finished = [row for row in rows if has_ended_with(row, metric)]
    subfolder(path / "pictures")
    value = [row["mean"] for row in means]
    drawn = []

    def at(kind: str, of: str = metric) -> Any:
        drawn.append(path / "pictures" / f"{kind}-{of}.png")
        return replacing(drawn[-1])

    if len(varied) == 1:
        with at("effect") as part:
            errors = [row["standard_error"] for row in means]
            figures.save_effect(part, _column(means, varied[0]), value, errors, (varied[0], metric))
    if len(varied) == 2:
        with at("heat_map") as part:
            across, down = (_column(means, name) for name in varied)
            figures.save_heat_map(part, across, down, value, (*varied, metric))
    if len(varied) != 1:
        with at("parallel") as part:
            columns = {name: _column(finished, name) for name in varied or ["seed"]}
            figures.save_parallel(part, columns, [row[metric] for row in finished], metric)
    if search := sweeps.read_sweep(path).get("search"):
        by = search["metric"] or selection(rows)
        found = [(number, row[by]) for number, row in enumerate(rows, 1) if has_ended_with(row, by)]
        lowest = list(itertools.accumulate((value for _, value in found), min))
        with at("search", by) as part:
            save_lines(part, {"lowest so far": ([number for number, _ in found], lowest)}, ("run", by))
    return drawn


def _column(rows: Sequence[Row], name: str) -> list[Any]:
    return [str(row[name]) if isinstance(row.get(name), list) else row.get(name) for row in rows]


def _short(value: Any, digits: int = 5) -> str:
    return "" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)
