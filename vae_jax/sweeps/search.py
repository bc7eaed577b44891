"""A sweep whose points are chosen one batch after another: from run folders to a study, and back.

A batch is asked for when all runs of the one before have ended, so the points of a search without pruning do not
depend on which run is faster, nor on when a driver was killed. With pruning they do: what ends early is decided by
the order in which figures arrive.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.build import nearest
from vae_jax.errors import ConfigError
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.driver import Source
from vae_jax.sweeps.plan import Point
from vae_jax.sweeps.points import Overrides, Range
from vae_jax.sweeps.study import Space, Study
from vae_jax.sweeps.table import SELECTED_BY, validation_row
from vae_jax.training.folder import read_results

PREFIX = "validation."  # of the figures that may choose


class Search(NamedTuple):
    """What a search does with its points."""

    space: Space
    num: int  # runs
    parallel: int  # of a batch
    prune: str  # see `Study`
    metric: str | None  # validation.<name>, to be low; by default the first of SELECTED_BY that there is
    validations: int = 1  # that a run has at most


class Around(NamedTuple):
    """What a search needs of the sweep around it."""

    resolve: Callable[[Overrides], Point]
    add_jobs: Callable[[], Any]  # for all runs without one
    say: Callable[[str], None]


def corners(ranges: Mapping[str, Range]) -> list[Overrides]:
    """Return points that hold both ends of every range, or each of its choices, to be checked before a run."""
    values = {
        name: tuple(map(float, where.values)) if where.kind in ("uniform", "log_uniform") else where.values
        for name, where in ranges.items()
    }
    first = {name: some[0] for name, some in values.items()}
    return [first] + [first | {name: value} for name, some in values.items() for value in some[1:]]


def validations(configs: Iterable[Mapping[str, Any]]) -> int:
    """Return how many validations a run has at most."""
    return max(-(-config["train"]["epochs"] // config["train"]["eval_every_epochs"]) for config in configs)


def first_batch(search: Search, resolve: Callable[[Overrides], Point]) -> list[Point]:
    """Return the points that a new search begins with."""
    asking = _Asking(Study(search.space), set(), resolve, lambda _: None)
    asked = [asking.ask(number) for number in range(min(search.num, search.parallel))]
    return [point for point, _ in filter(None, asked)]


def make_source(path: pathlib.Path, search: Search, around: Around) -> Source:
    """Return what asks for runs, and ends some early, until there are `search.num`.

    Args:
        path: the folder of the sweep, held open; runs that are there are taken up.
        search: see `Search`.
        around: see `Around`.

    Raises:
        ConfigError: a run that is there is none of this search; while it runs: no validation has the figure.
        StorageError: a file cannot be read or written.
    """
    searching = _Searching(path, search, around)
    return Source(searching.more, searching.watch)


class _Asking(NamedTuple):
    """A study, and the runs there are by the fingerprints of their configs."""

    study: Study
    known: set[str]
    resolve: Callable[[Overrides], Point]
    say: Callable[[str], None]

    def ask(self, number: int) -> tuple[Point, Any] | None:
        """Return a new point and its trial, or None where there seems to be none.

        Raises:
            ConfigError: no point is a config.
        """
        found: list[Point] = []
        refused: list[ConfigError] = []  # each value is allowed, but not all of them together

        def usable(overrides: Overrides) -> bool:
            try:
                found.append(self.resolve(overrides))
            except ConfigError as error:
                refused.append(error)
                return False
            return found[-1].fingerprint not in self.known

        asked = self.study.ask(number, usable)
        if refused and not self.known and asked is None:
            raise refused[-1]
        if refused:
            self.say(f"{len(refused)} points passed over, such as {refused[-1]}")
        if asked is None:
            return None
        overrides, trial = asked
        point = found[-1] if found else self.resolve(overrides)
        self.known.add(point.fingerprint)
        return point, trial


class _Run:
    """A run whose end has not been told."""

    def __init__(self, trial: Any):
        self.trial = trial
        self.validations = 0  # that have been reported
        self._step, self._offset = -1, 0

    def new_rows(self, file: pathlib.Path) -> list[dict[str, Any]]:
        """Return the rows of validations that have been written since the last call.

        A run that is resumed cuts its file short, and then writes the same rows once more, to the byte.
        """
        try:
            with open(file, "rb") as log:
                self._offset = self._offset if log.seek(0, 2) >= self._offset else 0
                log.seek(self._offset)
                text = log.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        rows = [json.loads(line) for line in whole.splitlines() if b'"validation"' in line]
        rows = [row for row in rows if row["step"] > self._step]
        self._step = rows[-1]["step"] if rows else self._step
        return rows


class _Searching:
    def __init__(self, path: pathlib.Path, search: Search, around: Around):
        self.path, self.search, self.say, self.add_jobs = path, search, around.say, around.add_jobs
        self.study = Study(search.space, search.prune, search.validations)
        self.study.copy_to(path / "study.db")
        points = {run: sweeps.read_point(path, run) for run in sweeps.run_names(path)}
        _refuse_strangers(path, search.space, [point["asked"] for point in points.values()])
        self.untold = {run: _Run(self.study.adopt(point["asked"])) for run, point in points.items()}
        known = {point["config_sha256"] for point in points.values()}
        self.asking = _Asking(self.study, known, around.resolve, around.say)
        self.without_job = set(sweeps.without_job(path))
        self.metric, self.exhausted = search.metric, False

    def more(self) -> bool:
        """Tell what has ended, and ask for the next batch when all has; see `Source`."""
        for run in [run for run in self.untold if not sweeps.is_open(self.path, run)]:
            self._tell(run, self.untold.pop(run))
        if not self.untold.keys() - self.without_job:
            self._ask()
        if self.without_job:
            self.add_jobs()
            self.without_job = set()
        return bool(self.untold)

    def watch(self) -> None:
        """Let the pruner see what is new, the best of each validation first: who comes later has more to compare with.

        So of members that train in step, the best are not ended for want of others.
        """
        if self.search.prune == "none":
            return
        news = []
        for run, one in self.untold.items():
            for place, row in enumerate(one.new_rows(self._file(run, "metrics.jsonl")), one.validations + 1):
                news.append((place, self._value(row), run))
        for place, value, run in sorted(news):
            if self._report(self.untold[run], place, value) and not self._file(run, "STOP").exists():
                self._file(run, "STOP").touch()
                self.say(f"run {run} is ended early: {self.metric} = {value:.5g} at validation {place}")

    def _ask(self) -> None:
        """Make the runs of the next batch, or the rest of one that a driver was killed in the middle of."""
        begun, size = len(self.asking.known), self.search.parallel
        end = -(-begun // size) * size if self.without_job else (begun // size + 1) * size
        points = []
        for number in range(begun, min(end, self.search.num)) if not self.exhausted else ():
            asked = self.asking.ask(number)
            if asked is None:
                self.exhausted = True
                self.say(f"the search ends with {number} runs: there seems to be no point that it has not tried")
                break
            points.append(asked)
        names = sweeps.add_runs(self.path, [point for point, _ in points])
        self.untold |= {run: _Run(trial) for run, (_, trial) in zip(names, points, strict=True)}
        self.without_job |= set(names)

    def _tell(self, run: str, one: _Run) -> None:
        """Tell how a run has ended."""
        for row in one.new_rows(self._file(run, "metrics.jsonl")):
            self._report(one, one.validations + 1, self._value(row))
        state = sweeps.status(self.path, run)
        if state == sweeps.DONE:
            row = validation_row(self.path / "runs" / run, read_results(self.path / "runs" / run)["best_step"])
            self.study.tell(one.trial, run, "COMPLETE", self._value(row))
        else:
            self.study.tell(one.trial, run, "PRUNED" if state == sweeps.STOPPED else "FAIL", None)

    def _report(self, one: _Run, place: int, value: float) -> bool:
        one.validations = place
        return self.study.report(one.trial, place, value)

    def _value(self, row: Mapping[str, Any]) -> float:
        """Return the figure that the search goes by."""
        names = [PREFIX + name for name in row]
        self.metric = self.metric or next((name for name in SELECTED_BY if name in names), SELECTED_BY[-1])
        value = row.get(self.metric.removeprefix(PREFIX))
        if not isinstance(value, int | float):
            hint, there = nearest(self.metric, names), ", ".join(names[2:])  # without step and split
            raise ConfigError(f"--metric={self.metric}: a run has no such figure{hint}; it has: {there}")
        return value

    def _file(self, run: str, name: str) -> pathlib.Path:
        return self.path / "runs" / run / name


def _refuse_strangers(path: pathlib.Path, space: Space, there: Sequence[Overrides]) -> None:
    """What a search holds must be its own: of its fields, and of a grid each in its place."""
    for number, overrides in enumerate(there):
        place = json.loads(json.dumps(space.points[number : number + 1]))
        if overrides.keys() != space.ranges.keys() if space.ranges else place != [overrides]:
            raise ConfigError(f"{path}/runs/{number:04d} ({overrides}) is no run of this search; use another --workdir")
