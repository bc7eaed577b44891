"""Trackers as such: whatever one does, the run goes on, the others too, and one line is said."""

import os
import subprocess
import sys
import threading
import time

import pytest

from vae_jax.errors import ConfigError
from vae_jax.reporting.tracking import Tracker, Trackers, parse_names, unfinished_trackers


@pytest.fixture(autouse=True)
def finished():
    """Wait for the threads of a test, which the next one would count as unfinished."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("tracker "):
            thread.join(10)
    assert not unfinished_trackers()


class Recorder:
    """Makes a tracker that notes its calls, and raises or hangs in one of them."""

    def __init__(self, fails=None, hangs=None):
        self.fails, self.hangs, self.calls, self.released = fails, hangs, [], threading.Event()

    def __call__(self):
        self.note("make")
        return Tracker(*(self.noting(name) for name in Tracker._fields))

    def noting(self, name):
        return lambda *args: self.note(name, *args)

    def note(self, name, *args):
        self.calls.append((name, *args))
        if name == self.fails:
            raise OSError("no\nluck")
        if name == self.hangs:
            self.released.wait(60)


def use(seconds=30.0, **makers):
    trackers = Trackers(makers)
    trackers.settings({"seed": 0})
    trackers.scalars(1, {"train/loss": 0.5})
    trackers.scalars(2, {"train/loss": 0.25})
    trackers.images(2, {"samples": "samples.png"})
    trackers.close(seconds)


CALLS = [
    ("make",),
    ("settings", {"seed": 0}),
    ("scalars", 1, {"train/loss": 0.5}),
    ("scalars", 2, {"train/loss": 0.25}),
    ("images", 2, {"samples": "samples.png"}),
    ("close", 0),
]


@pytest.mark.parametrize("fails", ["make", "settings", "scalars", "images", "close"])
def test_one_that_raises_is_dropped_with_one_line_and_the_other_hears_all(fails, capsys):
    sound, broken = Recorder(), Recorder(fails)
    use(broken=broken, sound=sound)
    assert sound.calls == CALLS
    upto = [call[0] for call in CALLS].index(fails) + 1
    assert broken.calls == CALLS[:upto] + ([] if fails == "make" else [("close", 1)])
    assert capsys.readouterr().err == "tracker broken is off: no luck; metrics.jsonl has everything\n"


def test_how_a_run_has_ended_is_told_before_anyone_waits():
    first, second = Recorder(hangs="close"), Recorder(hangs="close")
    runs = [Trackers({"a": first}), Trackers({"a": second})]
    started = time.monotonic()
    for trackers in runs:
        trackers.end(75)
        trackers.end()
    for trackers in runs:
        trackers.close(2.0)
    assert time.monotonic() - started < 3.9, "both have the same two seconds"
    assert first.calls == second.calls == [("make",), ("close", 75)]
    first.released.set()
    second.released.set()


@pytest.mark.parametrize("hangs", ["make", "scalars", "close"])
def test_one_that_hangs_holds_nobody_up(hangs, capsys):
    sound, stuck = Recorder(), Recorder(hangs=hangs)
    started = time.monotonic()
    use(seconds=0.5, stuck=stuck, sound=sound)
    assert time.monotonic() - started < 10
    assert sound.calls == CALLS
    assert "tracker stuck is off: it was not done 0 s after the run" in capsys.readouterr().err
    assert unfinished_trackers()
    stuck.released.set()


def fall_behind(monkeypatch):
    """Make nine calls of a tracker that hangs, of which three may wait."""
    monkeypatch.setattr("vae_jax.reporting.tracking._MOST_WAITING", 3)
    stuck = Recorder(hangs="make")
    trackers = Trackers({"stuck": stuck})
    for step in range(9):
        trackers.scalars(step, {})
    trackers.close()
    stuck.released.set()


def test_one_that_falls_behind_is_dropped_before_it_fills_the_memory(capsys, monkeypatch):
    fall_behind(monkeypatch)
    assert capsys.readouterr().err.count("it is 3 calls behind") == 1


def test_one_is_dropped_in_silence_where_nobody_reads_what_is_said(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        fall_behind(monkeypatch)
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), gone.fileno())  # what it still holds has to go somewhere


def test_a_library_that_is_missing_is_named(capsys):
    def make():
        import no_such_library  # noqa: F401

    use(absent=make)
    assert "no_such_library is not installed (pip install no_such_library)" in capsys.readouterr().err


def test_names_are_read_and_checked():
    assert parse_names("tensorboard, wandb") == ("tensorboard", "wandb")
    assert parse_names("none") == parse_names("") == ()
    with pytest.raises(ConfigError, match=r'did you mean "tensorboard".*known: mlflow, tensorboard, wandb'):
        parse_names("tensorbord")
    with pytest.raises(ConfigError, match="names wandb twice"):
        parse_names("wandb,wandb")


def test_one_that_hangs_does_not_hold_the_process_at_its_end(root):
    script = """
import atexit, time
from vae_jax import cli
from vae_jax.reporting.tracking import Trackers
def main(argv):
    atexit.register(time.sleep, 60)  # as W&B's, which waits for its server
    Trackers({"stuck": lambda: time.sleep(60)}).close(0.1)
cli.main(main)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("tracker stuck is off")
