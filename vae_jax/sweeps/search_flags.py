"""The flags of a sweep that chooses its points while it runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from vae_jax.build import nearest
from vae_jax.errors import ConfigError
from vae_jax.sweeps import points as made
from vae_jax.sweeps.search import PREFIX, Search
from vae_jax.sweeps.study import PRUNERS, SAMPLERS, Space, require
from vae_jax.sweeps.table import SELECTED_BY

_DEFAULTS = {"parallel": 8, "prune": "none", "metric": None, "search_seed": 0}


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Add the flags of a search."""
    group = flags.add_argument_group("search: points are chosen by the runs before them")
    group.add_argument("--search", help="tpe or random, of --range; or grid, of --set, --zip and --sweep")
    group.add_argument("--parallel", type=int, help="runs of a batch, in one program if they can be (default: 8)")
    group.add_argument("--prune", help="end bad runs early: asha, hyperband or none (default: none)")
    group.add_argument("--metric", help=f"what is to be low (default: {SELECTED_BY[0]}, or the loss)")
    group.add_argument("--search_seed", type=int, help="other points for other seeds (default: 0)")


def read(args: argparse.Namespace, points: Sequence[made.Overrides]) -> Search | None:
    """Return the search that is asked for, or None where none is.

    Args:
        args: with the flags of `add_flags`, and those of points.
        points: of a grid.

    Raises:
        ConfigError: flags that do not go together, an unknown sampler or pruner, a figure that may not choose, or
            Optuna is not installed.
    """
    if args.search is None:
        given = [name for name in _DEFAULTS if getattr(args, name) is not None]
        if given:
            raise ConfigError(f"--{given[0]} is for --search")
        return None
    chosen = argparse.Namespace(**_chosen(args))
    for flag, value, known in (("search", args.search, SAMPLERS), ("prune", chosen.prune, PRUNERS)):
        if value not in known:
            raise ConfigError(f"--{flag}={value} is unknown{nearest(value, known)}; known: {', '.join(known)}")
    if chosen.parallel < 1:
        raise ConfigError(f"--parallel={chosen.parallel} is not allowed: expected 1 or more")
    if chosen.metric and not chosen.metric.startswith(PREFIX):
        raise ConfigError(
            f"--metric={chosen.metric}: a search goes by a figure of the validation split, such as {SELECTED_BY[0]}; "
            "one that goes by test figures has seen the test data"
        )
    ranges = _ranges(args)
    require()
    space = Space(args.search, chosen.search_seed, ranges, points)
    return Search(space, args.num or len(points), chosen.parallel, chosen.prune, chosen.metric)


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a search must have in common with the one that it continues: all but the number of runs."""
    if args.search is None:
        return {}
    fields = {name: getattr(args, name) for name in ("search", "range", "set", "zip", "sweep")}
    return {"search": fields | _chosen(args)}


def _chosen(args: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in _DEFAULTS}
    return {name: _DEFAULTS[name] if value is None else value for name, value in given.items()}


def _ranges(args: argparse.Namespace) -> dict[str, made.Range]:
    has_grid = bool(args.set or args.zip or args.sweep)
    if args.search == "grid" and (args.range or not has_grid):
        raise ConfigError("--search=grid goes over --set, --zip or --sweep, and has no --range")
    if args.search != "grid" and (has_grid or not args.range or args.num is None):
        raise ConfigError(f"--search={args.search} draws out of --range, has --num, and no --set, --zip or --sweep")
    return made.parse_axes(args.range, "--range", made.parse_range)
