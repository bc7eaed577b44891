"""Processes of this machine: real ones, and what they leave when the driver is killed."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tests.processes import wait_until
from vae_jax.errors import OutputError
from vae_jax.sweeps.launchers import local
from vae_jax.sweeps.launchers.local import Local, gpus, share
from vae_jax.sweeps.launchers.task import Task


@pytest.fixture
def task(tmp_path):
    """Return (name, shell script, memory) -> a task."""
    return lambda name, script, memory_mb=0.0: Task(name, ("sh", "-c", script), tmp_path / f"{name}.log", memory_mb)


def collect(launcher, count):
    """Return the exit codes of so many tasks, each told once."""
    codes = {}

    def all_told():
        told = launcher.ended()
        assert not told.keys() & codes.keys()
        codes.update(told)
        return len(codes) == count

    assert wait_until(all_told)
    return codes


def test_codes_come_back_once_and_output_is_appended(task, tmp_path):
    with Local(slots=3) as launcher:
        launcher.submit([task("good", "echo out; echo err >&2"), task("bad", "exit 65"), task("gone", "kill -9 $$")])
        assert launcher.running() == {"good", "bad", "gone"}
        assert collect(launcher, 3) == {"good": 0, "bad": 65, "gone": -9}
        assert launcher.running() == set() and launcher.ended() == {}
        launcher.submit([task("good", "echo again; exit 3")])
        assert collect(launcher, 1) == {"good": 3}
    assert (tmp_path / "good.log").read_text() == "out\nerr\nagain\n"


def test_stop_asks_and_waits(task, tmp_path):
    with Local(slots=2) as launcher:
        polite = "trap 'sleep 0.2; echo saved; exit 75' TERM; echo ready; while :; do sleep 0.02; done"
        launcher.submit([task("polite", polite), task("deaf", "echo ready; exec sleep 60")])
        logs = [tmp_path / "polite.log", tmp_path / "deaf.log"]
        assert wait_until(lambda: all(log.read_text() for log in logs))
        launcher.stop()
        assert launcher.ended() == {"polite": 75, "deaf": -15}
    assert logs[0].read_text() == "ready\nsaved\n"


def test_room_is_of_slots_and_of_memory(task, monkeypatch):
    sleep = "exec sleep 60"
    with Local(slots=3) as launcher:
        monkeypatch.setattr(local, "_available_mb", lambda: 1000.0)
        monkeypatch.setattr(local, "_taken_mb", lambda _: 100.0)
        launcher.submit([task("first", sleep, 700.0)])  # which is still to take 600
        offered = [task(name, sleep, mb) for name, mb in {"large": 401, "second": 400, "third": 0, "fourth": 0}.items()]
        assert launcher.submit(offered) == ["second", "third"]
        assert launcher.running() == {"first", "second", "third"}
        launcher.stop()
        assert launcher.submit([task("huge", sleep, 5000.0)], others={"other"}) == []
        assert launcher.submit([task("huge", sleep, 5000.0)]) == ["huge"]  # one alone is always tried
        launcher.stop()


def test_those_of_an_earlier_driver_have_slots_too(task):
    with Local(slots=2) as launcher:
        offered = [task("first", "exec sleep 60"), task("second", "exec sleep 60")]
        assert launcher.submit(offered, others={"a", "b"}) == []
        assert launcher.submit(offered, others={"a"}) == ["first"]
        launcher.stop()


@pytest.mark.parametrize(("others", "gpu"), [({"a": "0"}, "5"), ({"b": "1"}, "4"), ({"c": "7"}, "4"), ({}, "4")])
def test_a_gpu_that_the_worker_of_a_killed_driver_uses_is_left_to_it(task, monkeypatch, tmp_path, others, gpu):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    for name, slot in others.items():
        (tmp_path / f"{name}.slot").write_text(slot)
    with Local() as launcher:
        assert launcher.submit([task("new", "echo $CUDA_VISIBLE_DEVICES; exec sleep 60")], {*others} or {"unknown"})
        assert wait_until(lambda: (tmp_path / "new.log").read_text())
        launcher.stop()
    assert (tmp_path / "new.log").read_text() == f"{gpu}\n"
    assert (tmp_path / "new.slot").read_text() == str("45".index(gpu))


def test_memory_is_measured():
    held = bytearray(os.urandom(1)) * (50 * 2**20)
    assert local._taken_mb(os.getpid()) > 50
    assert local._available_mb() > 0
    assert len(held) and local._taken_mb(2**22 + 1) == 0


def test_tasks_outlive_a_killed_driver(tmp_path):
    code = f"""
import pathlib, time
from vae_jax.sweeps.launchers.local import Local
from vae_jax.sweeps.launchers.task import Task
Local(1).submit([Task("a", ("sh", "-c", "echo $$; sleep 0.5; echo done"), pathlib.Path({str(tmp_path / "log")!r}))])
time.sleep(60)
"""
    driver = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    log = tmp_path / "log"
    assert wait_until(lambda: log.exists() and log.read_text())
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert wait_until(lambda: log.read_text().endswith("done\n"))


def test_what_cannot_be_started_is_one_line(tmp_path):
    with Local(1) as launcher:
        with pytest.raises(OutputError, match=r"a cannot be started: .*/missing/log: No such file"):
            launcher.submit([Task("a", ("true",), tmp_path / "missing" / "log")])
        with pytest.raises(OutputError, match=r"b cannot be started: no-such-program: No such file"):
            launcher.submit([Task("b", ("no-such-program",), tmp_path / "log")])
        assert launcher.running() == set()


def test_each_slot_has_its_gpus():
    four = ["0", "1", "2", "3"]
    assert share([], 2, 0) == share(four, 1, 0) == {}
    assert [share(four, 2, slot)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0,1", "2,3"]
    assert [share(four, 3, slot) for slot in (0, 2)] == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "2"}]
    shared = share(["5"], 3, 2)
    assert shared == {"CUDA_VISIBLE_DEVICES": "5", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.300"}
    assert gpus({"CUDA_VISIBLE_DEVICES": "2,GPU-7"}) == ["2", "GPU-7"]
    assert gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert len(gpus({})) == sum(path.name[6:].isdecimal() for path in pathlib.Path("/dev").glob("nvidia*"))


def test_a_slot_that_is_free_again_gives_its_gpus_to_the_next(task, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    show = "echo $CUDA_VISIBLE_DEVICES"
    with Local() as launcher:  # a slot for each
        launcher.submit([task("a", show + "; exec sleep 60"), task("b", show)])
        assert collect(launcher, 1) == {"b": 0}
        assert launcher.submit([task("c", show)]) == ["c"]
        assert collect(launcher, 1) == {"c": 0}
        launcher.stop()
    assert [(tmp_path / f"{name}.log").read_text() for name in "abc"] == ["6\n", "7\n", "7\n"]
