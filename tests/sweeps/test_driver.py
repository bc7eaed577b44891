"""The driver, with a launcher whose tasks do at once what the test says."""

import collections
import itertools
import json
import os
import signal

import pytest

from vae_jax.errors import Preempted, StorageError
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.driver import NO_SOURCE, Settings, Source, drive
from vae_jax.sweeps.plan import resolve
from vae_jax.sweeps.points import grid


class Scripted:
    """A launcher: each start of a job calls the next of its acts, which gives the exit code."""

    def __init__(self, path, acts, room=1):
        self.path, self.acts, self.most = path, acts, room
        self.started, self.open, self.stopped, self.others = collections.Counter(), {}, False, []

    def submit(self, tasks, others):
        self.others.append(others)
        taken = list(tasks)[: self.most - len(self.open)]
        for task in taken:
            acts = self.acts.get(task.name, [finish])
            self.open[task.name] = acts[min(self.started[task.name], len(acts) - 1)]
            self.started[task.name] += 1
        return [task.name for task in taken]

    def running(self):
        return set(self.open)

    def ended(self):
        codes = {name: act(self.path, name) for name, act in self.open.items()}
        self.open = {}
        return codes

    def stop(self):
        self.stopped = True


def finish(path, job, number=None):
    for run in sweeps.open_runs(path, job)[:number]:
        (path / "runs" / run / "results.json").write_text(json.dumps({"test": {}}))
    return 0


def code(number):
    return lambda *_: number


die = code(-9)


def get_further(path, job):
    step = len(list(path.glob(f"jobs/{job}/group-0/slots-2/*")))
    (path / "jobs" / job / "group-0" / "slots-2" / str(step)).mkdir(parents=True)
    return -9


def statuses(path):
    return [sweeps.status(path, run) for run in sweeps.run_names(path)]


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr("vae_jax.sweeps.driver._POLL_SECONDS", 0.0)


@pytest.fixture
def path(tmp_path):
    with sweeps.open_sweep(tmp_path / "sweep", {"config": "configs/digits.py"}) as path:
        sweeps.add_runs(path, resolve("configs/digits.py", grid({"seed": range(6)}), {}))
        for first in (0, 2, 4):
            sweeps.add_job(path, [f"{first:04d}", f"{first + 1:04d}"], {"memory_mb": 10})
        yield path


def go(path, launcher, source=NO_SOURCE, **settings):
    drive(path, launcher, Settings(**settings), [].append, source)


def run(path, acts, **settings):
    launcher = Scripted(path, acts)
    go(path, launcher, **settings)
    return launcher


def test_every_job_is_started_once(path):
    launcher = run(path, {})
    assert launcher.started == {"0000": 1, "0001": 1, "0002": 1}
    assert statuses(path) == ["done"] * 6
    assert run(path, {}).started == {}


def test_a_job_that_is_killed_or_asked_to_stop_goes_on(path):
    launcher = run(path, {"0000": [die, code(75), lambda p, j: finish(p, j, 1) or -9, finish]})
    assert launcher.started == {"0000": 4, "0001": 1, "0002": 1}
    assert statuses(path) == ["done"] * 6


def test_a_job_that_dies_in_vain_is_given_up_and_the_others_go_on(path):
    (path / "jobs" / "0001.log").write_text("step 1\nerror: out of memory\n\n")
    launcher = run(path, {"0001": [die]}, retries=2)
    assert launcher.started["0001"] == 3
    assert statuses(path) == ["done", "done", "failed", "failed", "done", "done"]
    assert sweeps.read_failure(path, "0002") == {"exit_code": -9, "message": "error: out of memory"}


def test_getting_further_counts_as_no_attempt(path):
    launcher = run(path, {"0000": [get_further] * 5 + [finish]}, retries=2)
    assert launcher.started["0000"] == 6 and statuses(path) == ["done"] * 6


def test_a_bug_is_not_tried_again(path):
    launcher = run(path, {"0000": [code(1)]})
    assert launcher.started["0000"] == 1 and statuses(path)[:2] == ["failed"] * 2


def test_a_full_disk_ends_the_sweep_and_fails_nothing(path):
    launcher = Scripted(path, {"0000": [code(74)]})
    with pytest.raises(StorageError, match="job 0000 could not write"):
        go(path, launcher)
    assert launcher.stopped and "failed" not in statuses(path)


def test_a_signal_stops_the_jobs_and_the_next_driver_finishes(path):
    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        return 75

    launcher = Scripted(path, {"0000": [interrupt]})
    with pytest.raises(Preempted, match="SIGTERM"):
        go(path, launcher)
    assert launcher.stopped
    run(path, {})
    assert statuses(path) == ["done"] * 6


def test_a_job_that_lives_is_waited_for_and_not_started(path):
    lock = sweeps.held(path / "jobs" / "0000.lock", "job")
    lock.__enter__()
    turns = []

    def watch():
        turns.append(None)
        if len(turns) == 5:
            finish(path, "0000")
            lock.__exit__(None, None, None)

    launcher = Scripted(path, {})
    go(path, launcher, Source(watch=watch))
    assert launcher.started == {"0001": 1, "0002": 1} and len(turns) >= 5
    assert launcher.others[:3] == 3 * [{"0000"}]  # so that the launcher keeps its slot free
    assert statuses(path) == ["done"] * 6


def test_a_source_gives_more_while_it_runs(path):
    turns = []

    def more():
        turns.append(None)
        if len(turns) == 4:
            points = resolve("configs/digits.py", [{"seed": 9}], {})
            sweeps.add_job(path, sweeps.add_runs(path, points), {})
        return len(turns) < 8

    launcher = Scripted(path, {})
    go(path, launcher, Source(more))
    assert launcher.started["0003"] == 1 and statuses(path) == ["done"] * 7 and len(turns) >= 8


def test_jobs_that_there_is_no_room_for_are_not_looked_at(path, monkeypatch):
    """A sweep may have thousands, and the driver looks five times a second."""
    looked, open_runs = [], sweeps.open_runs
    monkeypatch.setattr(sweeps, "open_runs", lambda path, job: [looked.append(job), open_runs(path, job)][1])
    launcher, turns = Scripted(path, {}), []
    monkeypatch.setattr(launcher, "ended", dict)

    def watch():
        turns.append(len(looked))
        if len(turns) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    def submit(tasks, others):
        return [] if launcher.open else Scripted.submit(launcher, itertools.islice(tasks, 1), others)

    launcher.submit = submit
    with pytest.raises(Preempted):
        go(path, launcher, Source(watch=watch))
    assert launcher.started == {"0000": 1}
    assert turns[0] == 3 and set(looked[3:]) == {"0000"} and len(set(turns[2:])) == 1


def test_workers_get_their_job_and_what_they_are_told(path):
    commands = []
    launcher = Scripted(path, {})

    def submit(tasks, others):
        tasks = list(tasks)
        commands.extend(tasks)
        return Scripted.submit(launcher, tasks, others)

    launcher.submit = submit
    go(path, launcher, worker=("--data_dir=x",))
    assert commands[0].command[1:] == ("-m", "vae_jax.sweeps.worker", str(path), "0000", "--data_dir=x")
    assert (commands[0].memory_mb, commands[0].log) == (10, path / "jobs" / "0000.log")
