"""A script, run as a user would run it, and what must hold whatever it is given."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.refusals import script_refusal

CONFIG = f"--config={ROOT}/configs/digits.py"
NEW = "--workdir={w}/new"
TRAIN = f"train.py {CONFIG} {NEW}"
NPZ = f"{CONFIG} {NEW} --config.data.name=npz --config.train.batch_size=8 --data_dir={{w}}"
FOLDER = f"{CONFIG} {NEW} --config.data.name=folder --config.train.batch_size=8 --data_dir={{w}}"
MNIST = f"--config={ROOT}/configs/mnist.py:variant=dynamic {NEW}"
OUT = "--out={w}/out.png"
BAD_INPUT = pytest.mark.fault(
    "bad input",
    injected="flags, fields, data and run folders that are wrong, given to every script",
    promised="its exit code, one line that says what was given and what was expected, nothing written",
)


def run(world, command):
    """Run a script in a process of its own, which may not import JAX, and return it when it has ended."""
    script, *flags = command.format(w=world).split(" ")
    folder = world.parent / "no jax"
    folder.mkdir(exist_ok=True)
    (folder / "jax.py").write_text("raise RuntimeError('JAX is imported')")
    env = environment(world) | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    command = [sys.executable, ROOT / "scripts" / script, *flags]
    return subprocess.run(command, cwd=world, env=env, capture_output=True, text=True, timeout=120)


def environment(world):
    """Return an environment without data, and without a network to get them."""
    env = {k: v for k, v in os.environ.items() if k != "VAE_JAX_DATA_DIR"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    env["VAE_JAX_CACHE_DIR"] = f"{world.parent}/empty cache"
    return env | dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")


def check(world, command, code, *told):
    """Check that a script prints one line that tells these words, ends with this code and leaves nothing behind."""
    before = contents(world)
    script, *flags = command.format(w=world).split(" ")
    said = script_refusal(code, script.removesuffix(".py"), *flags, cwd=world, env=environment(world))
    for text in told:
        assert text.format(w=world) in said
    assert contents(world) == before


def contents(world):
    """Return all files and folders, with what is in them."""
    return {path: path.read_bytes() if path.is_file() else None for path in pathlib.Path(world).rglob("*")}


def readable(command):
    """Return a name for a test."""
    return command.replace(str(ROOT), "").replace(NEW, "")[:90]
