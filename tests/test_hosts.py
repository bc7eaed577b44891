"""Several processes that are one run: really started, on this machine; the losses of one, and every way to end."""

import json
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import environment_of_users
from vae_jax.reporting.log import read_rows

FLAGS = [
    "--config=configs/digits.py",
    "--config.model.encoder.hidden=16",
    "--config.train.steps_per_call=10",
    "--config.train.eval_every_epochs=4",
    "--config.evaluate.num_importance_samples=2",
]
EPOCHS = "--config.train.epochs=10"


@pytest.fixture
def start(root):
    """Return (folder, count, *flags) -> the processes; those that a test leaves behind are killed."""
    started = []

    def processes(folder, count, *flags, port=None, own=lambda _: []):
        port, command = port or free_port(), [sys.executable, "scripts/train.py", f"--workdir={folder}", *FLAGS, *flags]
        for index in range(count):
            place = [f"--coordinator=localhost:{port}", f"--num_processes={count}", f"--process_id={index}"]
            settings = {"cwd": root, "text": True, "env": environment_of_users()}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            started.append(subprocess.Popen([*command, *place, *own(index)], **settings, **pipes))
        return started[-count:]

    yield processes
    for process in started:
        process.kill()
        process.communicate()


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def finish(processes, seconds=100):
    """Return (exit code, standard output, standard error) of each."""
    told = [process.communicate(timeout=seconds) for process in processes]
    return [(process.returncode, *text) for process, text in zip(processes, told, strict=True)]


def wait_for_step(processes, folder, step):
    """Wait until these processes, which have just been started, have passed a step: rows of those before count not."""
    log, begun = folder / "metrics.jsonl", time.time()
    while not (log.exists() and log.stat().st_mtime > begun and any(row["step"] >= step for row in read_rows(log))):
        assert all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.02)


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory):
    """The metrics of one process with one device."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, "scripts/train.py", f"--workdir={folder}", *FLAGS, EPOCHS]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return read_rows(folder / "metrics.jsonl")


def assert_same(rows, expected):
    assert [(row["step"], row["split"]) for row in rows] == [(row["step"], row["split"]) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        values = [[value for value in some.values() if isinstance(value, float)] for some in (row, other)]
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5)


def stop(processes, folder, step):
    """Ask the last of the processes to stop once a step has been passed; all of them save and end with 75."""
    wait_for_step(processes, folder, step)
    processes[-1].send_signal(signal.SIGTERM)
    for code, _, text in finish(processes):
        assert code == 75, text
        assert "SIGTERM: saved at step" in errors(text)[0]


@pytest.mark.long
@pytest.mark.fault(
    "host of several",
    injected="two processes are one run: SIGTERM to one of them, one instead of two, SIGKILL to either, a damaged "
    "checkpoint",
    promised="exit code 75 of all, one line that names who is gone; resumes with one or two; losses equal to rounding",
)
def test_two_then_one_then_two_of_which_one_is_killed_and_two_finish(start, tmp_path, undisturbed):
    folder = tmp_path / "run"
    stop(start(folder, 2, EPOCHS), folder, 40)
    stop(start(folder, 1, EPOCHS), folder, 80)
    for killed in (0, 1):
        processes = start(folder, 2, EPOCHS)
        wait_for_step(processes, folder, 120)
        processes[killed].kill()
        code, _, text = finish(processes, 60)[1 - killed]
        assert code == 75, text
        assert errors(text) == [
            f"error: process {killed} of 2 is gone; start all of them again: the run resumes from its newest checkpoint"
        ]
    steps = sorted(int(path.name) for path in (folder / "checkpoints").iterdir())
    for file in (folder / "checkpoints" / str(steps[-1])).rglob("d/*"):
        file.write_bytes(file.read_bytes()[::-1])
    (code, out, text), (other, silent, _) = finish(start(folder, 2, EPOCHS))
    assert (code, other) == (0, 0), text
    assert f"checkpoint {steps[-1]} is damaged" in out
    assert f"resuming at step {steps[-2]}" in out
    assert not silent
    assert_same(read_rows(folder / "metrics.jsonl"), undisturbed)
    assert json.loads((folder / "results.json").read_text())["steps"] == undisturbed[-1]["step"]


def test_each_of_two_reads_its_share_of_a_stream(start, tmp_path, undisturbed):
    folder = tmp_path / "run"
    stop(start(folder, 2, EPOCHS, "--config.data.memory_mb=0"), folder, 60)
    rows = read_rows(folder / "metrics.jsonl")
    assert_same(rows, undisturbed[: len(rows)])


@pytest.mark.fault(
    "host with an error",
    injected="one of two has another config; both have a batch that does not divide; both diverge",
    promised="both end with the same exit code and one line",
)
@pytest.mark.parametrize(
    ("flags", "own", "code", "said"),
    [
        ([], lambda i: [f"--config.seed={i}"], 2, "process 1 has another config than process 0"),
        (["--config.train.batch_size=63"], None, 2, "train.batch_size=63 must be a multiple of the number of devices"),
        pytest.param(
            ["--config.hypers.learning_rate=1e12"], None, 76, "lower hypers.learning_rate", marks=pytest.mark.long
        ),
    ],
)
def test_both_end_with_what_both_met(start, tmp_path, flags, own, code, said):
    for ended, _, text in finish(start(tmp_path / "run", 2, *flags, own=own or (lambda _: []))):
        assert ended == code, text
        assert said in errors(text)[0]
        assert len(errors(text)) == 1


def test_what_one_meets_alone_ends_the_other(start, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    (code, _, text), (other, _, told) = finish(start(tmp_path, 2))
    assert code == other == 73, text + told
    assert "is not empty and holds no run" in errors(text)[0]
    assert errors(told)[0].startswith("error: process 0 of 2 ended: ")
