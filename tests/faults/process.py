"""Real processes of our scripts, and the moments at which a fault is injected into them."""

import json
import shutil
import signal
import subprocess
import sys
import time

from tests.conftest import ROOT, environment_of_users
from vae_jax.reporting.log import read_rows
from vae_jax.training.checkpoint import load_newest
from vae_jax.training.fingerprint import state_sha256

FLAGS = [
    "--config=configs/digits.py",
    "--config.train.epochs=12",
    "--config.train.steps_per_call=10",
    "--config.evaluate.num_importance_samples=2",
]
SECONDS = 250  # that a process may take, on a machine that is busy
UNEQUAL = ("seconds_total", "seconds_to_first_step", "images_per_second")  # between two runs that are equal


started = []  # all processes, so that none outlives its test


def train(folder, *flags, hidden=16, every=0):
    """Return the command of a run of 240 steps, which saves after every tenth, if so many seconds have passed."""
    fields = f"--config.model.encoder.hidden={hidden}", f"--config.checkpoint.every_seconds={every}"
    return ["scripts/train.py", f"--workdir={folder}", *FLAGS, *fields, *flags]


def start(command, env=None, python=sys.executable, **settings):
    """Start a script with its flags."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings = {"cwd": ROOT, "env": environment_of_users() | (env or {}), "text": True, **pipes, **settings}
    started.append(subprocess.Popen([python, *command], **settings))
    return started[-1]


def ended(process):
    """Wait for the end and return (exit code, standard output, standard error)."""
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def finish(command, **settings):
    """Start, and wait for the end; see `ended`."""
    return ended(start(command, **settings))


def stop_at(step, folder, *flags, **settings):
    """Start a run and ask it to stop when it has passed a step; see `start` for the settings."""
    process = start(train(folder, *flags), **settings)
    assert wait_for_step(process, folder, step)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, err.count("\n")) == (75, 1), err
    return out


def assert_ends_as(undisturbed, folder, command=None):
    """Check that the same command ends the run with the bits of an undisturbed one, and return what it printed."""
    code, out, err = finish(command or train(folder))
    assert (code, err) == (0, "")
    assert outcome(folder) == undisturbed
    return out


def assert_refused(code, text, command, **settings):
    """Check that a command ends with a code and one line, which has a text; see `start` for the settings."""
    found, _, err = finish(command, **settings)
    assert found == code, err
    assert text in error_line(err)


def outcome(folder):
    """Return all that two equal runs have in common: figures, SHA-256 of the state and of the best, rows."""
    results = json.loads((folder / "results.json").read_text())
    figures = {name: value for name, value in results.items() if name not in UNEQUAL}
    best = load_newest(folder / "checkpoints")[1]["best"]
    return figures, state_sha256((best["params"], best["stats"])), (folder / "metrics.jsonl").read_bytes()


def error_line(err):
    """Return the one line that a process has said to standard error."""
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err


def steps(folder):
    """Return the steps that are saved, in order."""
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


def rows(folder):
    """Return the rows of metrics.jsonl; none while it is not there."""
    try:
        return read_rows(folder / "metrics.jsonl")
    except FileNotFoundError:
        return []


def wait_for(process, happened):
    """Wait until something has happened; False where the process ends before."""
    while process.poll() is None:
        if happened():
            return True
        time.sleep(0.002)
    return False


def wait_for_step(process, folder, step):
    """Wait until this process has passed a step."""
    begun = time.time()

    def passed():
        log = folder / "metrics.jsonl"
        return log.exists() and log.stat().st_mtime > begun and any(row["step"] >= step for row in rows(folder))

    return wait_for(process, passed)


def wait_for_save(process, folder):
    """Wait until a checkpoint is being written."""
    return wait_for(process, lambda: any((folder / "checkpoints").glob("*.orbax-checkpoint-tmp*")))


def wait_for_line(process, text):
    """Wait until the process says a line that begins so."""
    return any(line.startswith(text) for line in process.stdout)


def copy(folder, path):
    """Return a copy of a run folder."""
    shutil.copytree(folder, path)
    return path
