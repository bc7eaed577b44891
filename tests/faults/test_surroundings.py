"""What is around a run: the clock, the terminal, the tracker's folder, the memory, the numbers themselves."""

import contextlib
import json
import os
import pathlib
import pty
import re
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.faults.process import (
    SECONDS,
    assert_ends_as,
    assert_refused,
    copy,
    ended,
    error_line,
    finish,
    outcome,
    rows,
    start,
    steps,
    stop_at,
    train,
    wait_for,
    wait_for_step,
)


def fake_clock(file):
    """Return the environment of a process whose clock is as far off as a file says."""
    found = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("needs libfaketime (apt-get install faketime)")
    clock = {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": str(found[0]), **clock}


@pytest.mark.long
@pytest.mark.fault(
    "clock set back",
    injected="the clock is set back by 3 days between two saves, and by 30 days between the run and its resumption",
    promised="no effect: ends with the bits of the undisturbed run",
)
def test_clock_set_back(tmp_path, undisturbed):
    folder, file = tmp_path / "run", tmp_path / "clock"
    env = fake_clock(file)
    file.write_text("+0d")
    process = start(train(folder), env=env)
    assert wait_for(process, lambda: len(rows(folder)) > 6)
    process.send_signal(signal.SIGSTOP)
    file.write_text("-3d")
    time.sleep(1.1)  # the library looks once in a second
    process.send_signal(signal.SIGCONT)
    assert wait_for(process, lambda: len(rows(folder)) > 12)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert (code, err.count("\n")) == (75, 1), err
    file.write_text("-30d")
    code, out, err = finish(train(folder), env=env)
    assert (code, err) == (0, "")
    assert "resuming at step" in out
    assert outcome(folder) == undisturbed
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["restarts"][0]["utc"] < manifest["started_utc"]  # the clock was really set back


@pytest.mark.long
@pytest.mark.fault(
    "time zone",
    injected="a run goes on in a time zone 25 hours away",
    promised="no effect: ends with the bits of the undisturbed run",
)
def test_time_zone(tmp_path, undisturbed):
    folder = tmp_path / "run"
    stop_at(100, folder, env={"TZ": "Pacific/Kiritimati"})
    assert finish(train(folder), env={"TZ": "Pacific/Midway"})[0] == 0
    assert outcome(folder) == undisturbed


@pytest.mark.long
@pytest.mark.fault(
    "names of folders",
    injected="a run folder that is relative, a symbolic link, and has spaces and letters of other scripts in its name",
    promised="no effect: ends with the bits of the undisturbed run",
)
def test_names_of_folders(tmp_path, half_way, undisturbed):
    (tmp_path / "läuft 走 %s").symlink_to(copy(half_way, tmp_path / "run"))
    relative = os.path.relpath(tmp_path / "läuft 走 %s", ROOT)
    assert "resuming at step" in assert_ends_as(undisturbed, tmp_path / "run", train(relative))


@pytest.mark.long
@pytest.mark.fault(
    "reader gone",
    injected="standard output is closed: by its reader, as of `| head`, or from the start",
    promised="nothing stops: exit code 0, the bits of the undisturbed run",
    full=2,
)
def test_standard_output_closed(tmp_path, undisturbed, attempt):
    command = train(tmp_path / "run")
    if attempt:
        code, _, err = finish(["-c", 'exec "$0" "$@" >&-', sys.executable, *command], python="bash")
        assert (code, err) == (0, "")
    else:
        process = start(command)
        process.stdout.close()
        with process.stderr:
            assert (process.wait(timeout=SECONDS), process.stderr.read()) == (0, "")
    assert outcome(tmp_path / "run") == undisturbed


@pytest.mark.long
@pytest.mark.fault(
    "terminal",
    injected="a terminal that goes away in training",
    promised="nothing is lost: the same command ends with the bits of the undisturbed run",
)
def test_terminal_gone(tmp_path, undisturbed):
    folder, (ours, theirs) = tmp_path / "run", pty.openpty()
    process = start(train(folder), stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(theirs)
    assert wait_for_step(process, folder, 100)
    os.close(ours)
    process.wait(timeout=SECONDS)
    assert_ends_as(undisturbed, folder)


@pytest.mark.long
@pytest.mark.fault(
    "tracker's folder",
    injected="a file in the place of the folder of TensorBoard",
    promised="said in one line; nothing stops",
)
def test_tracker_folder(tmp_path, half_way, undisturbed):
    folder = copy(half_way, tmp_path / "run")
    for path in (folder / "tensorboard").iterdir():
        path.unlink()
    (folder / "tensorboard").rmdir()
    (folder / "tensorboard").write_text("in the way")
    code, _, err = finish(train(folder))
    assert code == 0
    assert err.count("\n") == 1 and "tracker tensorboard is off" in err
    assert outcome(folder) == undisturbed


@pytest.mark.long
@pytest.mark.fault(
    "out of memory",
    injected="a batch and a network that 4 GB of memory are not enough for",
    promised="exit code 74, one line with the batch sizes",
)
def test_out_of_memory(tmp_path):
    limit = ["-c", 'ulimit -v 4000000; exec "$0" "$@"', sys.executable]
    command = [*limit, *train(tmp_path / "run", "--config.train.batch_size=1024", hidden=200000)]
    said = "out of memory with train.batch_size=1024 and evaluate.batch_size=500"
    assert_refused(74, said, command, python="bash")


@pytest.mark.long
@pytest.mark.fault(
    "no memory at all",
    injected="a process in training is not given any more memory, and is killed if it has not ended after 20 seconds",
    promised="nothing is lost: the same command resumes and ends with the bits of the undisturbed run",
    full=3,
)
def test_no_memory_at_all(tmp_path, undisturbed, attempt):
    folder = tmp_path / "run"
    process = start(train(folder))
    assert wait_for_step(process, folder, 60 + attempt)
    process.send_signal(signal.SIGSTOP)
    used = int(re.search(r"VmSize:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1]) * 1024
    resource.prlimit(process.pid, resource.RLIMIT_AS, (used, used))
    process.send_signal(signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=20)
    process.kill()
    process.communicate()
    assert "resuming at step" in assert_ends_as(undisturbed, folder)


@pytest.mark.long
@pytest.mark.fault(
    "loss that is not finite",
    injected="a learning rate of 30, from the start, or after a while by its schedule",
    promised="exit code 76, one line with the step; diverged.json with the batch; the last good checkpoint is kept",
)
def test_divergence(tmp_path):
    folder = tmp_path / "run"
    code, _, err = finish(train(folder, "--config.hypers.learning_rate=30"))
    assert code == 76
    assert "at step" in error_line(err) and "checkpoint" in err
    assert not (folder / "results.json").exists()
    found = json.loads((folder / "diverged.json").read_text())
    assert f"at step {found['step']} " in err
    assert len(set(found["rows"])) == 64
    assert found["hypers"]["learning_rate"] == 30
    assert found["metrics"]["loss"][-1] == "nan" or found["metrics"]["grad_norm"][-1] in ("nan", "inf")
    assert found["last_good_checkpoint"] == (max(steps(folder)) if (folder / "checkpoints").exists() else None)
