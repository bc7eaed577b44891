"""Optuna, and all that knows of it: which point comes next, and which run is to end early.

A study lives in memory and is made anew from the run folders whenever a driver starts, so nothing that happens to it
can lose or double a trial. study.db is a copy of what has ended, for Optuna's own tools.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from vae_jax.errors import ConfigError, StorageError
from vae_jax.sweeps.points import Overrides, Range

SAMPLERS, PRUNERS = ("tpe", "random", "grid"), ("none", "asha", "hyperband")
_NAME = "search"
_ATTEMPTS = 100  # to find a point that has not been asked for


class Space(NamedTuple):
    """Where points come from."""

    sampler: str  # of SAMPLERS
    seed: int
    ranges: Mapping[str, Range]
    points: Sequence[Overrides] = ()  # of grid: all there are, in order


class Study:
    """The trials of a search; trial and run go together by the order in which they were asked for.

    What is asked for next is a function of the seed, the number of runs so far, what has been told and what is open.
    """

    def __init__(self, space: Space, prune: str = "none", validations: int = 1):
        """Begin with no trial; `validations` is how many a run has, at most."""
        self._optuna = require()
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._space, self._where = space, self._distributions(space)
        pruners = self._optuna.pruners
        pruner = {
            "none": pruners.NopPruner,
            "asha": lambda: pruners.SuccessiveHalvingPruner(min_resource=1),
            "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=validations),
        }[prune]()
        self._study = self._optuna.create_study(study_name=_NAME, direction="minimize", pruner=pruner)
        self._copy: Any = None

    def copy_to(self, file: pathlib.Path) -> None:
        """Write a copy of each trial into a new study.db, when it is told. An old one, damaged or not, is replaced."""
        with _storage_errors(file):
            for old in file.parent.glob(f"{file.name}*"):  # a journal beside it, too
                old.unlink()
            self._copy = self._optuna.create_study(study_name=_NAME, direction="minimize", storage=f"sqlite:///{file}")
        self._file = file

    def ask(self, number: int, usable: Callable[[Overrides], bool]) -> tuple[Overrides, Any] | None:
        """Return the point of run `number` and its trial, or None where all points seem to have been asked for.

        A point that is not `usable`, for it is there already or is no config, gives way to one drawn at random.
        """
        if self._space.sampler == "grid":
            overrides = self._space.points[number] if number < len(self._space.points) else None
            return overrides and (overrides, self.adopt(overrides))
        samplers = self._optuna.samplers
        for attempt in range(_ATTEMPTS):
            # Optuna keeps no state of a sampler, so each point has a seed of its own.
            seed = zlib.crc32(f"{self._space.seed}:{number}:{attempt}".encode())
            guided = self._space.sampler == "tpe" and not attempt
            self._study.sampler = samplers.TPESampler(seed=seed) if guided else samplers.RandomSampler(seed=seed)
            trial = self._study.ask(self._where)
            if usable(trial.params):
                return dict(trial.params), trial
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return None

    def adopt(self, overrides: Overrides) -> Any:
        """Return a trial of a point that is known."""
        params = {name: _plain(value) for name, value in overrides.items()}
        self._study.sampler = self._optuna.samplers.RandomSampler()  # is not asked, as all is given
        self._study.enqueue_trial(params)
        return self._study.ask({name: self._where[name] for name in params})

    def report(self, trial: Any, validation: int, value: float) -> bool:
        """Tell the figure of a validation, counted from 1, and return whether the run is to end."""
        trial.report(value, validation)
        return trial.should_prune()

    def tell(self, trial: Any, run: str, state: Literal["COMPLETE", "PRUNED", "FAIL"], value: float | None) -> None:
        """End a trial; the value of one that is pruned is the last that was reported."""
        trial.set_user_attr("run", run)
        told = self._study.tell(trial, value, state=self._optuna.trial.TrialState[state])
        if self._copy:
            with _storage_errors(self._file):
                self._copy.add_trial(told)

    def _distributions(self, space: Space) -> dict[str, Any]:
        make = self._optuna.distributions
        kinds = {
            "uniform": lambda low, high: make.FloatDistribution(low, high),
            "log_uniform": lambda low, high: make.FloatDistribution(low, high, log=True),
            "whole": lambda low, high: make.IntDistribution(low, high),
            "choice": lambda *values: make.CategoricalDistribution(values),
        }
        found = {name: kinds[where.kind](*where.values) for name, where in space.ranges.items()}
        values: dict[str, dict[Any, None]] = {}
        for point in space.points:
            for name, value in point.items():
                values.setdefault(name, {})[_plain(value)] = None
        return found | {name: make.CategoricalDistribution(tuple(some)) for name, some in values.items()}


def require() -> Any:
    """Return the library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("--search needs Optuna: pip install 'vae_jax[sweep]'") from error
    return optuna


@contextlib.contextmanager
def _storage_errors(file: pathlib.Path) -> Iterator[None]:
    """Make one line of what SQLite, SQLAlchemy or Optuna's storage say of the copy."""
    try:
        yield
    except Exception as error:  # (three libraries, and the disk)
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StorageError(
            f"{file} cannot be written: {reason}; no run is lost, and the same command makes it anew"
        ) from error


def _plain(value: Any) -> Any:
    """Return a value of a kind that Optuna knows."""
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
