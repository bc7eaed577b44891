"""Faults injected for real into `scripts/train.py`: after each the same command ends as if nothing had happened."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from vae_jax.reporting.log import read_rows

FLAGS = [
    "--config=configs/digits.py",
    "--config.model.encoder.hidden=16",
    "--config.train.steps_per_call=10",
    "--config.checkpoint.every_seconds=0",
    "--config.evaluate.num_importance_samples=2",
]


def start(root, folder, *more, epochs=30, **settings):
    epochs_flag = f"--config.train.epochs={epochs}"
    command = [sys.executable, "scripts/train.py", f"--workdir={folder}", *FLAGS, epochs_flag, *more]
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


def finish(root, folder, *more, epochs=30):
    process = start(root, folder, *more, epochs=epochs)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def outcome(folder):
    results = json.loads((folder / "results.json").read_text())
    return results["state_sha256"], results["test"], (folder / "metrics.jsonl").read_bytes()


def wait_for_step(process, folder, step):
    """Wait until training has passed a step, and say whether the process is still running."""
    while process.poll() is None:
        if any(row["step"] >= step for row in read_rows(folder / "metrics.jsonl")):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    code, _, err = finish(root, folder)
    assert code == 0, err
    return outcome(folder)


def test_kill_at_random_moments_then_resume_is_bit_equal(root, tmp_path, undisturbed):
    random.seed(5)
    folder, kills = tmp_path / "run", 0
    for step in (1, 100, 250, 400):
        process = start(root, folder)
        if wait_for_step(process, folder, step):
            time.sleep(random.uniform(0, 0.1))
            process.kill()
            kills += 1
        process.communicate()
    assert kills >= 3
    code, out, err = finish(root, folder)
    assert code == 0, err
    assert "resuming at step" in out
    assert outcome(folder) == undisturbed
    assert json.loads((folder / "manifest.json").read_text())["restarts"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_leaves_with_its_own_code_and_resumes(root, tmp_path, undisturbed, number):
    folder = tmp_path / "run"
    process = start(root, folder)
    assert wait_for_step(process, folder, 30)
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 75, err
    assert f"{number.name}: saved at step" in err
    code, _, err = finish(root, folder)
    assert code == 0, err
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_run_that_is_killed_and_then_interrupted_as_a_group_ends_as_in_memory(
    root, tmp_path, undisturbed, workers
):
    flags = "--config.data.memory_mb=0", f"--config.data.workers={workers}"
    folder = tmp_path / "run"
    process = start(root, folder, *flags)
    assert wait_for_step(process, folder, 55)
    process.kill()
    process.communicate()
    process = start(root, folder, *flags, start_new_session=True)
    assert wait_for_step(process, folder, 205)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does, to the workers too
    _, err = process.communicate(timeout=100)
    assert process.returncode == 75
    assert err.splitlines() == [err.strip()] and "SIGINT: saved at step" in err
    code, out, err = finish(root, folder, *flags)
    assert (code, err) == (0, ""), err
    assert "resuming at step" in out
    assert outcome(folder) == undisturbed


def test_flipped_bit_in_the_newest_checkpoint_is_said_and_survived(root, tmp_path, undisturbed):
    folder = tmp_path / "run"
    process = start(root, folder)
    assert wait_for_step(process, folder, 60)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=100)
    steps = sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
    files = [p for p in (folder / "checkpoints" / str(steps[-1])).rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    code, out, err = finish(root, folder)
    assert code == 0, err
    assert f"checkpoint {steps[-1]} is damaged" in out
    assert f"resuming at step {steps[-2]}" in out
    assert outcome(folder) == undisturbed


def test_loss_that_is_not_finite_stops_the_run_and_names_the_step(root, tmp_path):
    code, _, err = finish(root, tmp_path / "run", "--config.hypers.learning_rate=1e20")
    assert code == 76
    lines = err.strip().splitlines()
    assert len(lines) == 1
    assert "at step" in lines[0]
    assert "checkpoint" in lines[0]
    assert not (tmp_path / "run" / "results.json").exists()


def test_second_process_in_the_same_folder_is_refused(root, tmp_path):
    folder = tmp_path / "run"
    first = start(root, folder, epochs=100000)
    assert wait_for_step(first, folder, 1)
    code, _, err = finish(root, folder, epochs=100000)
    first.kill()
    first.communicate()
    assert code == 73
    assert f"in use by process {first.pid}" in err


def test_full_disk_is_one_line_and_the_run_resumes_when_there_is_room(root, tmp_path, undisturbed):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        code, _, err = finish(root, disk / "run")
        assert code == 74, err
        assert len([line for line in err.strip().splitlines() if line.startswith("error:")]) == 1
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        code, _, err = finish(root, disk / "run")
        assert code == 0, err
        assert outcome(disk / "run") == undisturbed
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_reader_that_goes_away_stops_nothing(root, tmp_path):
    process = start(root, tmp_path / "run")
    process.stdout.close()
    with process.stderr:
        assert process.wait(timeout=200) == 0, process.stderr.read()
    assert pathlib.Path(tmp_path, "run", "results.json").exists()
