"""A script, run as a user would run it, and what must hold whatever it is given."""

import contextlib
import importlib.util
import io
import os
import pathlib
import subprocess
import sys
from unittest import mock

import jax
import pytest

from tests.conftest import ROOT
from vae_jax import cli

CONFIG = f"--config={ROOT}/configs/digits.py"
NEW = "--workdir={w}/new"
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


def load(script):
    """Return a script as a module."""
    path = ROOT / "scripts" / script
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ended(world, command):
    """Run a script in this process, to save it a start, and return (exit code, standard error)."""
    script, *flags = command.format(w=world).split(" ")
    cache = jax.config.jax_compilation_cache_dir
    with (
        contextlib.chdir(world),
        mock.patch.dict(os.environ, environment(world), clear=True),
        mock.patch.object(sys, "argv", [str(ROOT / "scripts" / script), *flags]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = cli._run(load(script).main)
    jax.config.update("jax_compilation_cache_dir", cache)
    return code, err.getvalue()


def check(world, command, code, *told):
    """Check that a script prints one line that tells these words, ends with this code and leaves nothing behind."""
    before = contents(world)
    found, err = ended(world, command)
    assert found == code, err
    assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
    for text in told:
        assert text.format(w=world) in err
    assert contents(world) == before


def contents(world):
    """Return all files and folders, with what is in them."""
    return {path: path.read_bytes() if path.is_file() else None for path in pathlib.Path(world).rglob("*")}


def readable(command):
    """Return a name for a test."""
    return command.replace(str(ROOT), "").replace(NEW, "")[:90]
