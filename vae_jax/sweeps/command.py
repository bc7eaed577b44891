"""`scripts/sweep.py`: from flags to a sweep that runs."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from vae_jax import cli
from vae_jax.config_file import read_sweep
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, SomeFailed
from vae_jax.reporting.progress import say
from vae_jax.reporting.tracking import parse_names
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps import points as made
from vae_jax.sweeps import search_flags
from vae_jax.sweeps.driver import NO_SOURCE, Settings, drive, plan_jobs
from vae_jax.sweeps.estimate import remembered
from vae_jax.sweeps.launchers.local import Local
from vae_jax.sweeps.launchers.slurm import Slurm
from vae_jax.sweeps.plan import Point, grouped, resolve
from vae_jax.sweeps.report import status_text, table_text
from vae_jax.sweeps.search import Around, Search, corners, first_batch, make_source, validations
from vae_jax.sweeps.table import default_metric, make_rows, write_table


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Add the flags of a sweep that runs."""
    cli.add_config(flags, default="configs/digits.py")
    flags.add_argument("--sweep", help="name of a function sweep_<name>() of the config file")
    for name, text in (("set", "all combinations"), ("zip", "values that go together"), ("range", "where it may lie")):
        metavar = "FIELD=RANGE" if name == "range" else "FIELD=VALUES"
        flags.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=f"{text}; may be repeated")
    flags.add_argument("--num", type=int, help="how many points to draw out of --range, or runs of a search")
    flags.add_argument("--members", type=int, help="most runs in one program (default: all that fit)")
    flags.add_argument("--slots", type=int, help="processes at a time (default: one for each GPU, or one)")
    flags.add_argument("--launcher", default="local", help="local or slurm (default: local)")
    flags.add_argument("--retry", action="store_true", help="run again what has failed")
    flags.add_argument(
        "--slurm", action="append", default=[], metavar="OPTION=VALUE", help="of sbatch; may be repeated"
    )
    search_flags.add_flags(flags)
    flags.add_argument("--dry_run", action="store_true", help="tell what would run, its memory and time; write nothing")


def run(args: argparse.Namespace, common: Mapping[str, str]) -> None:
    """Run a sweep to its end, and write its table.

    Raises:
        UserError: see `vae_jax.errors`; `SomeFailed` where the sweep is over but for runs that have failed.
    """
    _check(args)
    points = _points(args)
    search = search_flags.read(args, points)

    def resolved(overrides: made.Overrides) -> Point:
        return resolve(args.config, [overrides], common)[0]

    given = resolve(args.config, corners(search.space.ranges) if search and search.space.ranges else points, common)
    for config in _by_data(given):
        load_dataset(config, args.data_dir)
    if search:
        search = search._replace(validations=validations(point.config for point in given))
    if args.dry_run:
        _tell(args, first_batch(search, resolved) if search else given, search)
        return
    asked = {"schema": 1, "config": args.config, "common": dict(common), **search_flags.settings(args)}
    with sweeps.open_sweep(_folder(args, given, asked), asked) as path:
        if not search:
            _refuse_strangers(path, given)
        sweeps.check_jobs(path)
        if args.retry:
            say(f"{sweeps.forget_failures(path)} runs that have failed are run again")
        say(f"sweep folder: {path}")
        add_jobs = functools.partial(plan_jobs, path, args.members, remembered(args.data_dir, say), grouped)
        if not search:
            sweeps.add_runs(path, given)
            add_jobs()
        source = make_source(path, search, Around(resolved, add_jobs, say)) if search else NO_SOURCE
        worker = [f"--trackers={args.trackers}", *([f"--data_dir={args.data_dir.resolve()}"] if args.data_dir else [])]
        with _launcher(args, path) as launcher:
            drive(path, launcher, Settings(tuple(worker)), say, source)
        _finish(path, args.metric)


def _check(args: argparse.Namespace) -> None:
    parse_names(args.trackers)
    for name in ("num", "members", "slots"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name}={value} is not allowed: expected 1 or more")
    if args.launcher not in ("local", "slurm"):
        raise ConfigError(f"--launcher={args.launcher} is unknown; known: local, slurm")
    if args.slurm and args.launcher != "slurm":
        raise ConfigError("--slurm is for --launcher=slurm")
    slurm = made.parse_axes(args.slurm, "--slurm", str)
    if args.members != 1 and any(slurm.get(name, "1") != "1" for name in ("ntasks", "nodes")):
        raise ConfigError("--slurm ntasks or nodes above 1 are processes of one run together: add --members=1")
    if args.slots and args.launcher != "local":
        raise ConfigError("--slots is for --launcher=local; SLURM has --slurm parallel=N")
    if bool(args.range) != (args.num is not None) and not args.search:
        raise ConfigError("--range and --num go together: where points may lie, and how many to draw")


def _launcher(args: argparse.Namespace, path: pathlib.Path) -> Local | Slurm:
    if args.launcher == "local":
        return Local(args.slots)
    return Slurm(path, made.parse_axes(args.slurm, "--slurm", str))


def _points(args: argparse.Namespace) -> list[made.Overrides]:
    parts = [read_sweep(args.config, args.sweep)] if args.sweep else []
    if args.set:
        parts.append(made.grid(made.parse_axes(args.set, "--set", made.parse_values)))
    if args.zip:
        parts.append(made.zipped(made.parse_axes(args.zip, "--zip", made.parse_values)))
    if args.range and not args.search:
        parts.append(made.random(made.parse_axes(args.range, "--range", made.parse_range), args.num))
    if not parts and not args.search:
        raise ConfigError("nothing to sweep over: give --sweep=NAME, --set field=values, --zip or --range")
    return made.product(*parts) if parts else []


def _by_data(points: Sequence[Point]) -> list[Mapping[str, Any]]:
    """Return a config for each set of data that the sweep needs, so that a missing one is told before anything runs."""
    by_data = {(str(point.config["data"]), point.config["train"]["batch_size"]): point.config for point in points}
    return list(by_data.values())


def _tell(args: argparse.Namespace, points: Sequence[Point], search: Search | None) -> None:
    """Say what would run."""
    if search:
        where = ", ".join([*args.range, *args.set, *args.zip, *filter(None, [args.sweep])])
        say(f"{search.num} runs, chosen by {args.search} in batches of {search.parallel} out of {where}; the first:")
    configs = [point.config for point in points]
    groups = [(configs[group[0]], len(group)) for group in grouped(configs, args.members)]
    remembered(args.data_dir, say)(groups)


def _folder(args: argparse.Namespace, points: Sequence[Point], asked: Mapping[str, Any]) -> pathlib.Path:
    stem = pathlib.Path(args.config.partition(":")[0]).stem
    if args.search:
        name = f"{args.search}-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]}"
    else:
        name = args.sweep or points[0].fingerprint[:8]
    return args.workdir or pathlib.Path("sweeps", f"{stem}-{name}")


def _refuse_strangers(path: pathlib.Path, points: Sequence[Point]) -> None:
    """A sweep may grow, but what it holds must be asked for."""
    asked = {point.fingerprint for point in points}
    there = {run: sweeps.read_point(path, run) for run in sweeps.run_names(path)}
    strangers = {run: point for run, point in there.items() if point["config_sha256"] not in asked}
    if strangers:
        run, point = next(iter(strangers.items()))
        raise ConfigError(
            f"{path} holds {len(strangers)} runs that this command does not ask for, such as runs/{run} "
            f"({point['overrides']}); use another --workdir"
        )


def _finish(path: pathlib.Path, selected_by: str | None) -> None:
    rows = make_rows(path)
    say(status_text(path))
    failed = sum(row["status"] == sweeps.FAILED for row in rows)
    if failed < len(rows):
        say(table_text(rows, default_metric(rows), selected_by))
    say("written: " + ", ".join(map(str, write_table(path, rows))))
    if failed:
        raise SomeFailed(f"{failed} of {len(rows)} runs of {path} have failed; --retry runs them again")
