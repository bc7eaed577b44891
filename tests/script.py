"""Scripts as a user types them, run in this process: a start of Python and JAX takes longer than most of them."""

import contextlib
import importlib.util
import io
import os
import sys
import warnings
from typing import NamedTuple
from unittest import mock

import jax

from tests.conftest import ROOT
from vae_jax import cli

# What `run.use_compilation_cache` sets.
_CACHE = [f"jax_persistent_cache_min_{name}" for name in ("compile_time_secs", "entry_size_bytes")]
_CACHE += ["jax_compilation_cache_dir"]


class Done(NamedTuple):
    """How a script ended; the names are those of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def load_script(name):
    """Return a script as a module."""
    path = ROOT / "scripts" / name
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(name, *flags, cwd=ROOT, env=None):
    """Run scripts/NAME with its flags, in a folder, with this environment if one is given."""
    settings = {setting: getattr(jax.config, setting) for setting in _CACHE}
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, os.environ if env is None else env, clear=True),
        mock.patch.object(sys, "argv", [str(ROOT / "scripts" / name), *map(str, flags)]),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        warnings.simplefilter("ignore", DeprecationWarning)  # as outside of pytest
        code = cli._run(load_script(name).main)
        for setting, value in settings.items():
            jax.config.update(setting, value)
    return Done(code, out.getvalue(), err.getvalue())


def output_of(name, *flags, cwd=ROOT):
    """Run scripts/NAME.py, which is to succeed without a word on standard error, and return its standard output."""
    done = run_script(f"{name}.py", *flags, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
