"""Trackers: where a run's rows are shown, beside metrics.jsonl, which is the truth. A tracker never stops a run.

A tracker is a file in `trackers/` whose `make(folder, step)` connects it to a run that goes on at `step`, and returns a
`Tracker`. What it writes is a copy, so nothing is lost with it.
"""

from __future__ import annotations

import contextlib
import importlib
import pathlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vae_jax.build import component
from vae_jax.errors import ConfigError, complain

SECONDS = 30.0  # that the end of a run waits for its trackers, all of them together
_THREAD = "tracker "
_MOST_WAITING = 10_000  # calls that a tracker may be behind


class Tracker(NamedTuple):
    """The calls that a tracker takes; each may raise, and may take its time."""

    scalars: Callable[[int, Mapping[str, float]], None]  # (step, {'train/loss': value})
    images: Callable[[int, Mapping[str, pathlib.Path]], None]  # (step, {'samples': PNG file})
    settings: Callable[[Mapping[str, Any]], None]  # (dotted field -> value)
    close: Callable[[int], None]  # exit code of the run: 0 where it has finished


class Trackers:
    """Several trackers, each called from a thread of its own, so that none slows the run or another one.

    The first failure of a tracker is said in one line, and it is called no more.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Tracker]]):
        self._all = [_Background(name, make) for name, make in makers.items()]
        self._ended: float | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values at a step."""
        self._call("scalars", step, dict(values))

    def images(self, step: int, files: Mapping[str, pathlib.Path]) -> None:
        """Show picture files, by name."""
        self._call("images", step, dict(files))

    def settings(self, config: Mapping[str, Any]) -> None:
        """Show the settings of the run, by dotted field."""
        self._call("settings", dict(config))

    def end(self, exit_code: int = 0) -> None:
        """Say that nothing more comes, and how the run has ended; do not wait. Only the first call counts."""
        if self._ended is None:
            self._ended = time.monotonic()
            self._call("close", exit_code)

    def close(self, seconds: float = SECONDS) -> None:
        """End them, if it was not done yet; what one has not sent so long after that is given up."""
        self.end()
        for tracker in self._all:
            tracker.wait(max(0.0, self._ended + seconds - time.monotonic()), seconds)

    def _call(self, name: str, *args: Any) -> None:
        for tracker in self._all:
            tracker.call(name, *args)


def open_trackers(names: Sequence[str], folder: pathlib.Path, step: int) -> Trackers:
    """Open trackers by name for the run of a folder that goes on at `step`.

    Raises:
        ConfigError: a name is unknown.
    """

    def maker(module: str) -> Callable[[], Tracker]:
        return lambda: importlib.import_module(module).make(folder, step)

    return Trackers({name: maker(_module(name)) for name in names})


def parse_names(text: str) -> tuple[str, ...]:
    """Return the trackers that --trackers names: 'tensorboard,wandb'; none for 'none' or nothing.

    Raises:
        ConfigError: one is unknown, or named twice.
    """
    names = () if text.strip() in ("", "none") else tuple(name.strip() for name in text.split(","))
    for name in names:
        _module(name)
        if names.count(name) > 1:
            raise ConfigError(f"--trackers={text} names {name} twice")
    return names


def unfinished_trackers() -> bool:
    """Tell whether trackers are at work still; once a run is over, these are the ones that were given up."""
    return any(thread.name.startswith(_THREAD) for thread in threading.enumerate())


def _module(name: str) -> str:
    return component("reporting.trackers", name, "--trackers").module


class _Background:
    def __init__(self, name: str, make: Callable[[], Tracker]):
        self.name, self._off = name, False
        self._calls: queue.Queue = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, args=(make,), name=_THREAD + name, daemon=True)
        self._thread.start()

    def call(self, method: str, *args: Any) -> None:
        if not self._off:
            try:
                self._calls.put_nowait((method, args))
            except queue.Full:
                self._drop(f"it is {_MOST_WAITING} calls behind")

    def wait(self, seconds: float, limit: float) -> None:
        if not self._off:
            self._thread.join(seconds)
            if self._thread.is_alive():
                self._drop(f"it was not done {limit:.0f} s after the run")

    def _work(self, make: Callable[[], Tracker]) -> None:
        tracker = method = None
        try:
            tracker = make()
            while method != "close":
                method, args = ("close", (1,)) if self._off else self._calls.get()
                getattr(tracker, method)(*args)
        except (Exception, SystemExit) as error:  # whatever a foreign library may raise
            missing = isinstance(error, ModuleNotFoundError)
            self._drop(f"{error.name} is not installed (pip install {error.name})" if missing else _one_line(error))
            if tracker is not None:
                with contextlib.suppress(Exception):  # lest it keep a connection open
                    tracker.close(1)

    def _drop(self, reason: str) -> None:
        if not self._off:
            self._off = True
            complain(f"tracker {self.name} is off: {reason}; metrics.jsonl has everything")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."
