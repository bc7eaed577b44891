"""docs/results.md, from the lines of docs/tables alone. Imports no JAX."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from vae_jax.reproduction.tables import TABLES, Table, read_record

_HEAD = """\
# Published tables, made again

Written by `python scripts/reproduce.py --render` from [docs/tables](tables), which `scripts/reproduce.py --table=TABLE`
writes: a line a row, with the versions, hashes, commit, seconds and date of every run. `DATA` is the folder of the
original files. Ours are figures of the test split, ± the standard error over seeds where there are several; the gap is
ours less the published figure, with the sign turned where higher is better: above 0 is worse than published. Times are
those of training one seed, with validation; where the machine did other work beside it, they are longer than need be.
`pip install -c LOCK -e .` with the lock file of a row gives the packages that it was computed with.
"""
_COLUMNS = ("row", "published", "ours", "seeds", "gap", "our budget", "training", "hardware", "flags")


def page(folder: pathlib.Path) -> str:
    """Return docs/results.md; `folder` holds TABLE.jsonl of each table that has been made."""
    parts = [_HEAD]
    for table in TABLES.values():
        lines = read_record(folder / f"{table.name}.jsonl")
        parts.append(_section(table, {line["row"]: line for line in lines}))
    return "\n".join(parts)


def _section(table: Table, lines: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS)]
    for row in table.rows:
        published = f"{row.published:.{table.published_digits}f}"
        flags = f"`--table={table.name} --row={row.name}`"
        line = lines.get(row.name)
        rows.append(_cells(table, row.text, line) if line else (row.text, published, "not run", *[""] * 5, flags))
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    source = f"{table.source}. In {table.unit}; {'higher' if table.higher_is_better else 'lower'} is better."
    return f"## {table.title}\n\n{source}\n\n{body}\n\n{_statement(table, lines)}\n"


def _cells(table: Table, text: str, line: Mapping[str, Any]) -> tuple[str, ...]:
    places, error, runs = table.digits, line["standard_error"], line["runs"]
    times = [run["seconds_training"] for run in runs if run["seconds_training"] is not None]
    return (
        text,
        f"{line['published']:.{table.published_digits}f}",
        f"**{line['mean']:.{places}f}**" + ("" if error is None else f" ± {error:.{places}f}"),
        str(len(runs)),
        f"{line['gap']:+.{places}f}",
        f"{line['epochs']} epochs, batch {line['batch_size']}",
        _duration(sum(times) / len(times)) if times else "",
        "; ".join(dict.fromkeys(run["hardware"] for run in runs)),
        f"`--table={table.name} --row={line['row']}`",
    )


def _statement(table: Table, lines: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what was spent, how far the rows are from the published ones, and which are missing."""
    said = [f"Published budget: {table.published_budget}."]
    if lines:
        sizes = sorted({f"{line['num_train']}" for line in lines.values()})
        pixels = sorted({f"{line['binarization']}" for line in lines.values()})
        said.append(
            f"Ours stands in the table, on {' or '.join(sizes)} training pictures; binarization: {'; '.join(pixels)}."
        )
        said += _reached(table, lines)
    missing = [f"`{row.name}`" for row in table.rows if row.name not in lines]
    if missing:
        said.append(f"Not run yet: {', '.join(missing)}.")
    locks = sorted({str(run["lock"]) for line in lines.values() for run in line["runs"]} - {"None"})
    if locks:
        said.append(f"Lock file: {', '.join(locks)}.")
    return " ".join(said)


def _reached(table: Table, lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    ranked = sorted(lines.values(), key=lambda line: line["gap"])
    near = [line for line in ranked if line["gap"] <= table.goal]
    goal = f"as good as published, or within {table.goal:g} {table.unit}" if table.goal else "as good as published"
    said = [f"{len(near)} of {len(ranked)} rows are {goal}."]
    worst = ranked[-1]
    if worst["gap"] > 0:
        said.append(f"The largest gap is {worst['gap']:.{table.digits}f} {table.unit}, `{worst['row']}`.")
    most = max(len(line["runs"]) for line in ranked)
    if most == 1:
        said.append("One seed each, so there is no standard error over seeds.")
    return said


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
