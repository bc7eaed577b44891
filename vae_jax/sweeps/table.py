"""The table of a sweep: one row a run, and means over seeds. Made anew from the run folders at any time."""

from __future__ import annotations

import csv
import json
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from vae_jax.build import nearest
from vae_jax.errors import ConfigError
from vae_jax.reporting.log import read_rows
from vae_jax.storage import replacing
from vae_jax.sweeps import folder as sweeps
from vae_jax.training.folder import read_config, read_results

Row = dict[str, Any]

SEEDS = ("seed", "data.seed")  # what makes runs repetitions of each other
ENDED = (sweeps.DONE, sweeps.STOPPED)  # with results
SELECTED_BY = ("validation.neg_elbo_nats", "validation.loss")  # the first that there is


def make_rows(path: pathlib.Path) -> list[Row]:
    """Return a row for each run: `run`, `status`, the fields that the sweep sets, figures, and its folder.

    Figures are those of results.json, `test.<name>`, and those of the validation that selected the parameters,
    `validation.<name>`; of a run that is not done, those of its best validation so far.
    """
    running = sweeps.live_runs(path)
    return [_row(path, name, sweeps.status(path, name, running)) for name in sweeps.run_names(path)]


def swept(rows: Sequence[Row]) -> list[str]:
    """Return the fields that the sweep sets, in its order, without the seeds."""
    return [name for name in _fields(rows) if name not in SEEDS]


def over_seeds(rows: Sequence[Row], metric: str) -> list[Row]:
    """Return a row for each setting of the fields but the seeds: mean and standard error of a figure over its runs.

    Raises:
        ConfigError: no finished run has the figure.
    """
    check_metric(rows, metric)
    settings: dict[str, list[Row]] = {}
    for row in rows:
        settings.setdefault(json.dumps([row.get(name) for name in swept(rows)]), []).append(row)
    found = []
    for same in settings.values():
        values = [row[metric] for row in same if has_ended_with(row, metric)]
        mean = statistics.fmean(values) if values else None
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        setting = {name: same[0].get(name) for name in swept(rows)}
        found.append(setting | {"mean": mean, "standard_error": error, "finished": len(values), "runs": len(same)})
    return found


def best(rows: Sequence[Row], selected_by: str | None = None) -> Row | None:
    """Return the finished run of the lowest validation figure, or None where none is finished.

    The default figure is -ELBO, or the loss of models that have none: a weighted loss is not the same thing for
    different weights. No figure of the test split has a say.
    """
    name = selected_by or selection(rows)
    return min((row for row in rows if has_ended_with(row, name)), key=lambda row: row[name], default=None)


def selection(rows: Sequence[Row]) -> str:
    """Return the validation figure that `best` goes by."""
    return next((name for name in SELECTED_BY if any(name in row for row in rows)), SELECTED_BY[-1])


def default_metric(rows: Sequence[Row]) -> str:
    """Return the test figure to show: -log p(x), or what a model without a likelihood is trained on."""
    return next((name for name in ("test.nll_nats", "test.loss") if any(name in row for row in rows)), "test.loss")


def has_ended_with(row: Row, metric: str) -> bool:
    """Tell whether this is a finished run with the figure; another may have one of validation, the best so far."""
    return row["status"] in ENDED and row.get(metric) is not None


def check_metric(rows: Sequence[Row], metric: str) -> None:
    """Check that a finished run has this figure.

    Raises:
        ConfigError: none has; the message lists those there are.
    """
    ended = [row for row in rows if row["status"] in ENDED]
    known = sorted({name for row in ended for name, value in row.items() if _is_figure(name, value)})
    if metric not in known:
        there = f"there are: {', '.join(known)}" if known else "no run has finished yet"
        raise ConfigError(f"figure {metric!r} is unknown{nearest(metric, known)}; {there}")


def check_validation(rows: Sequence[Row], metric: str) -> None:
    """Check that a run has this figure, and that it may choose among runs.

    Raises:
        ConfigError: no finished one has, or it is of the test split.
    """
    if not metric.startswith("validation."):
        raise ConfigError(f"--select_by={metric} is no figure of validation; runs are never chosen by test figures")
    check_metric(rows, metric)


def write_table(path: pathlib.Path, rows: Sequence[Row]) -> list[pathlib.Path]:
    """Write table.csv, and table.parquet where pyarrow is installed, into the sweep's folder; return their paths."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path / "table.csv") as part, open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return [path / "table.csv"]
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    with replacing(path / "table.parquet") as part:
        parquet.write_table(pyarrow.table(columns), part)
    return [path / "table.csv", path / "table.parquet"]


def validation_row(folder: pathlib.Path, step: int | None) -> Mapping[str, Any]:
    """Return the row of a run's validation at a step, or that of the lowest loss; it is empty where there is none."""
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["split"] == "validation"]
    chosen = [row for row in rows if step in (None, row["step"])]
    return min(chosen, key=lambda row: row["loss"], default={})


def _row(path: pathlib.Path, name: str, status: str) -> Row:
    folder = path / "runs" / name
    row: Row = {"run": name, "status": status, **sweeps.read_point(path, name)["overrides"]}
    config = read_config(folder)
    row |= {"seed": config["seed"], "data.seed": config["data"]["seed"]}
    step = None
    if status in ENDED:
        results = read_results(folder)
        step = results["best_step"]
        row |= {f"test.{figure}": value for figure, value in results["test"].items()}
        row |= {figure: results.get(figure) for figure in ("best_step", "steps", "num_parameters", "seconds_total")}
    if status == sweeps.FAILED:
        failure = sweeps.read_failure(path, name)
        row |= {"exit_code": failure["exit_code"], "error": failure["message"]}
    selected = validation_row(folder, step)
    row |= {f"validation.{figure}": value for figure, value in selected.items() if figure not in ("step", "split")}
    return row | {"folder": str(folder.relative_to(path))}


def _fields(rows: Sequence[Row]) -> list[str]:
    """Return the names between `status` and the first figure, which are what the sweep sets."""
    known = ("run", "status", "folder", "best_step", "steps", "num_parameters", "seconds_total", "exit_code", "error")
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name not in known and not name.startswith(("test.", "validation."))]


def _is_figure(name: str, value: Any) -> bool:
    return name.startswith(("test.", "validation.")) and isinstance(value, int | float)


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _column(values: Sequence[Any]) -> list[Any]:
    """Return values of one type, as a column needs them: text, where they are of several."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and not kinds & {list, dict}):
        return [float(value) if kinds == {int, float} and value is not None else value for value in values]
    return [None if value is None else str(_plain(value)) for value in values]
