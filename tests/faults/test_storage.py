"""Disks that are full, read-only or gone; folders that another process holds."""

import os
import shutil
import signal
import sys
import time

import pytest

from tests.faults.process import (
    assert_ends_as,
    assert_refused,
    ended,
    error_line,
    outcome,
    start,
    train,
    wait_for_line,
    wait_for_step,
)


def fill(disk):
    """Leave no free byte."""
    with open(disk / "ballast", "wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass


@pytest.mark.fault(
    "disk full",
    injected="no byte is left on a disk of 8 MB: while checkpoints, metrics or results are being written",
    promised="exit code 74, one line with the path; with room again, the same command ends with the same bits",
    short=3,
    full=9,
)
def test_disk_full(mounted, undisturbed, attempt):
    disk = mounted("size=8m")
    folder, what = disk / "run", ("a checkpoint", "metrics.jsonl", "pictures")[attempt % 3]
    command = train(folder, every=1000 if what == "metrics.jsonl" else 0)
    process = start(command)
    if what == "pictures":
        assert wait_for_line(process, "evaluating")
    else:
        assert wait_for_step(process, folder, 20 + 10 * attempt)
    process.send_signal(signal.SIGSTOP)
    fill(disk)
    process.send_signal(signal.SIGCONT)
    code, _, err = ended(process)
    assert code == 74, err
    if "tracker tensorboard is off" in err:  # their loss stops nothing, and is said on a line of its own
        err = err.partition("\n")[2]
    assert error_line(err).startswith("error: writing ") and what in err and str(folder) in err
    (disk / "ballast").unlink()
    assert_ends_as(undisturbed, folder, command)


@pytest.fixture
def without_jax(tmp_path):
    """An environment in which nobody may import JAX."""
    (tmp_path / "jax.py").write_text("raise RuntimeError('JAX is imported')")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.fault(
    "read-only disk",
    injected="a run folder on a disk that is mounted read-only",
    promised="exit code 73, one line, before JAX is imported",
)
def test_read_only(mounted, without_jax):
    command = train(mounted("ro") / "run")
    assert_refused(73, "cannot be written: Read-only file system", command, env=without_jax)


@pytest.mark.long
@pytest.mark.fault(
    "no permission",
    injected="a run folder that belongs to another user",
    promised="exit code 73, one line, before JAX is imported",
)
def test_no_permission(tmp_path, without_jax):
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("needs root, to give a folder away, and setpriv, to lose root's right to write everywhere")
    (tmp_path / "run").mkdir(mode=0o755)
    shutil.chown(tmp_path / "run", "nobody")
    command = ["--bounding-set=-dac_override", sys.executable, *train(tmp_path / "run")]
    assert_refused(73, "cannot be written: Permission denied", command, env=without_jax, python="setpriv")


@pytest.mark.long
@pytest.mark.fault(
    "run folder gone",
    injected="the run folder is deleted, or moved away, in training",
    promised="exit code 74, one line; where it was moved to, the run goes on to the same bits",
    full=4,
)
def test_folder_gone(tmp_path, undisturbed, attempt):
    folder, away = tmp_path / "run", tmp_path / "away"
    process = start(train(folder))
    assert wait_for_step(process, folder, 40 + attempt)
    folder.rename(away)
    if attempt % 2:
        shutil.rmtree(away)
    code, _, err = ended(process)
    assert code == 74, err
    assert str(folder) in error_line(err)
    if not attempt % 2:
        assert_ends_as(undisturbed, away)


@pytest.mark.long
@pytest.mark.fault(
    "two processes in one folder",
    injected="the same command while it runs already",
    promised="the second: exit code 73, one line with the process that holds the folder; the first: undisturbed",
    full=3,
)
def test_second_process(tmp_path, undisturbed, attempt):
    folder = tmp_path / "run"
    first = start(train(folder))
    assert wait_for_step(first, folder, 1)
    first.send_signal(signal.SIGSTOP)  # lest it ends before the other has looked
    time.sleep(attempt / 10)
    assert_refused(73, f"in use by process {first.pid}", train(folder))
    first.send_signal(signal.SIGCONT)
    assert ended(first)[::2] == (0, "")
    assert outcome(folder) == undisturbed
