"""Tasks on a real SLURM, of this machine: how they end, are queued again, are found again; runs that it preempts."""

import functools
import os
import subprocess
import sys
import time

import pytest

from tests import processes
from tests.faults.process import FLAGS, outcome
from tests.test_hosts import assert_same
from vae_jax.errors import ConfigError
from vae_jax.reporting.log import read_rows
from vae_jax.sweeps.launchers import slurm
from vae_jax.sweeps.launchers.slurm import Slurm
from vae_jax.sweeps.launchers.task import Task

UNTIL_ASKED = "{ trap 'sleep 0.2; echo saved; exit 75' TERM; echo ready; while :; do sleep 0.05; done; }"
WARN = ("scancel", "--batch", "--signal=TERM")  # as SLURM does before a time limit
wait_until = functools.partial(processes.wait_until, seconds=200)

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Ask and give up sooner than on a cluster of many machines."""
    monkeypatch.setattr(slurm, "ASK_SECONDS", 0.2)
    monkeypatch.setattr(slurm, "LOST_SECONDS", 1.0)


@pytest.fixture
def task(tmp_path):
    """Return (name, shell script) -> a task."""
    return lambda name, script: Task(name, ("sh", "-c", script), tmp_path / f"{name}.log")


def collect(launcher):
    """Return the exit codes of all tasks, each told once."""
    codes = {}

    def all_told():
        told = launcher.ended()
        assert not told.keys() & (codes.keys() | launcher.running())
        codes.update(told)
        return not launcher.running()

    assert wait_until(all_told)
    return codes


def job(launcher, name):
    """Return the number by which SLURM knows a task."""
    launcher._ask()
    return launcher._queue[launcher._elements[name].key].job


@pytest.mark.long
def test_codes_come_back_and_75_is_queued_again(task, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "LARGEST", 4)  # so there are two arrays
    tasks = [
        task("good", "echo 'it'\"'\"'s $HOME'; echo err >&2"),
        task("bad", "exit 65"),
        task("gone", "kill -9 $$"),
        task("lost", "kill -9 $PPID; exec sleep 1"),
        task("resumed", "echo run; [ $SLURM_RESTART_COUNT ] || exit 75"),
        task("never", "echo run; exit 75"),
    ]
    with Slurm(tmp_path, {"requeues": "1", "parallel": "3", "time": "5"}) as launcher:
        assert launcher.submit(tasks) == [one.name for one in tasks]
        assert launcher.running() == {one.name for one in tasks}
        codes = collect(launcher)
        assert launcher.ended() == {}
    assert codes == {"good": 0, "bad": 65, "gone": -9, "lost": -9, "resumed": 0, "never": 75}
    texts = {one.name: one.log.read_text() for one in tasks}
    assert texts["good"].startswith("it's") and "err\n" in texts["good"]
    assert texts["resumed"].count("run") == texts["never"].count("run") == 2
    assert not list((tmp_path / "slurm").iterdir())


@pytest.mark.long
@pytest.mark.parametrize("ntasks", ["1", "2"])
def test_what_is_warned_is_queued_again_and_what_is_cancelled_is_not(task, tmp_path, ntasks):
    cancelled, warned = task("cancelled", UNTIL_ASKED), task("warned", "[ $SLURM_RESTART_COUNT ] || " + UNTIL_ASKED)
    with Slurm(tmp_path, {"ntasks": ntasks, "overcommit": ""}) as launcher:
        launcher.submit([cancelled, warned])
        for one, command in (warned, WARN), (cancelled, ("scancel",)):
            assert wait_until(lambda one=one: one.log.exists() and one.log.read_text().count("ready") == int(ntasks))
            subprocess.run([*command, job(launcher, one.name)], check=True)
        assert collect(launcher) == {"cancelled": -15, "warned": 0}
    assert "CANCELLED AT" in cancelled.log.read_text()  # SLURM's own words
    assert cancelled.log.read_text().count("saved") == warned.log.read_text().count("saved") == int(ntasks)


def test_stop_asks_those_that_run_and_takes_the_others_from_the_queue(task, tmp_path):
    tasks = [task("runs", UNTIL_ASKED), task("waits", UNTIL_ASKED)]
    with Slurm(tmp_path, {"parallel": "1"}) as launcher:
        launcher.submit(tasks)
        assert wait_until(lambda: tasks[0].log.exists() and "ready" in tasks[0].log.read_text())
        launcher.stop()
        assert launcher.ended() == {"runs": 75, "waits": 75}
    assert "saved" in tasks[0].log.read_text()
    assert not tasks[1].log.exists()


class Killed(BaseException):
    """Ends a driver where it stands."""


@pytest.mark.parametrize(("before", "codes"), [(True, {"a": -9, "b": -9}), (False, {"a": 0, "b": 3})])
def test_a_new_driver_finds_what_one_has_left_that_was_killed_while_it_submitted(
    task, tmp_path, monkeypatch, before, codes
):
    call = slurm._call

    def killed(*command):
        if command[0] == "sbatch" and not before:
            call(*command)
        raise Killed

    with pytest.raises(Killed), Slurm(tmp_path, {}) as launcher:
        monkeypatch.setattr(slurm, "_call", killed)
        launcher.submit([task("a", "sleep 1"), task("b", "sleep 1; exit 3")])
    monkeypatch.setattr(slurm, "_call", call)
    with Slurm(tmp_path, {}) as launcher:
        assert launcher.running() == {"a", "b"}
        assert collect(launcher) == codes
    with Slurm(tmp_path, {}) as launcher:
        assert launcher.running() == set()


def test_nothing_is_told_while_slurm_does_not_answer(task, tmp_path, monkeypatch, capsys):
    with Slurm(tmp_path, {}) as launcher:
        launcher.submit([task("a", "true")])
        with monkeypatch.context() as patch:
            (tmp_path / "squeue").write_text("#!/bin/sh\necho Unable to contact slurm controller >&2\nexit 1\n")
            (tmp_path / "squeue").chmod(0o755)
            patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            time.sleep(1.5)
            for _ in range(2):
                assert launcher.ended() == {}
                time.sleep(0.3)
            assert launcher.running() == {"a"}
        assert capsys.readouterr().out == (
            "SLURM does not answer (Unable to contact slurm controller); waiting until it does\n"
        )
        assert collect(launcher) == {"a": 0}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"partition": "no-such"}, "SLURM refuses what --slurm says: .*invalid partition"),
        ({"no_such_option": "1"}, "SLURM refuses what --slurm says: .*help"),
        ({"mem": "100T"}, "SLURM refuses"),
        ({"output": "/tmp/x"}, r"--slurm output is not allowed: the launcher sets it"),
        ({"Output": "/tmp/x"}, r"--slurm Output is not allowed: expected parallel, requeues"),
        ({"Time; rm": "1"}, r"--slurm Time; rm is not allowed"),
        ({"requeues": "-1"}, r"--slurm requeues=-1 is not allowed: expected a whole number"),
        ({"notice": "0"}, r"--slurm notice=0 is not allowed"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_queued(tmp_path, settings, said):
    with pytest.raises(ConfigError, match=f"(?i){said}"):
        Slurm(tmp_path, settings)
    assert not list(tmp_path.iterdir())


def test_without_slurm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no SLURM here: sbatch is not found"):
        Slurm(tmp_path, {})


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": [0, "../other.log"]}'])
def test_a_damaged_list_of_tasks_is_named(tmp_path, text):
    (tmp_path / "slurm" / "0a").mkdir(parents=True)
    (tmp_path / "slurm" / "0a" / "tasks.json").write_text(text)
    with pytest.raises(ConfigError, match=r"slurm/0a/tasks\.json is damaged"):
        Slurm(tmp_path, {})


@pytest.mark.long
def test_runs_that_slurm_preempts_end_as_if_nothing_had_happened(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)

    def train(name):
        fields = "--config.model.encoder.hidden=16", "--config.checkpoint.every_seconds=0"
        command = sys.executable, "scripts/train.py", f"--workdir={tmp_path / name}", *FLAGS, *fields
        longer = ["--config.train.epochs=30" if "epochs" in flag else flag for flag in command]
        return Task(name, tuple(longer), tmp_path / f"{name}.log")

    with Slurm(tmp_path, {}) as alone, Slurm(tmp_path, {"ntasks": "2"}) as together:
        alone.submit([train("undisturbed"), train("preempted")])
        together.submit([train("two")])
        rows = tmp_path / "preempted" / "metrics.jsonl"
        for step, command in (1, WARN), (300, ("scontrol", "requeue")):
            assert wait_until(lambda step=step: any(row["step"] >= step for row in read_rows(rows)))
            subprocess.run([*command, job(alone, "preempted")], check=True)
        assert collect(alone) == {"undisturbed": 0, "preempted": 0}
        assert collect(together) == {"two": 0}
    assert (tmp_path / "preempted.log").read_text().count("resuming at step") == 2
    assert outcome(tmp_path / "preempted") == outcome(tmp_path / "undisturbed")
    assert_same(*(read_rows(tmp_path / name / "metrics.jsonl") for name in ("two", "undisturbed")))
