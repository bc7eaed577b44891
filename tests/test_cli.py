"""What ends a script, and with which code: mistakes, bugs, full disks, interrupts."""

import errno
import os
import pathlib

import pytest

from tests.processes import python
from vae_jax import cli
from vae_jax.errors import UserError


def end(script, monkeypatch, capsys):
    """Run cli.main on a function and return the exit code and what it wrote to stderr."""
    monkeypatch.setattr("sys.argv", ["script.py"])
    monkeypatch.delenv("VAE_JAX_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main(script)
    return ended.value.code, capsys.readouterr().err


def failing(error):
    def script(_):
        raise error

    return script


@pytest.mark.parametrize("kind", UserError.__subclasses__())
def test_every_user_error_is_one_line_and_its_code(kind, monkeypatch, capsys):
    assert end(failing(kind("two\nlines")), monkeypatch, capsys) == (kind.exit_code, "error: two lines\n")


def test_exit_codes_tell_the_errors_apart():
    codes = {kind.__name__: kind.exit_code for kind in UserError.__subclasses__()}
    assert codes == {
        "ConfigError": 2,
        "DataError": 65,
        "OutputError": 73,
        "StorageError": 74,
        "Preempted": 75,
        "Diverged": 76,
        "NotReproduced": 77,
        "SomeFailed": 78,
    }


@pytest.mark.parametrize(
    "error, code, text",
    [
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (OSError(errno.ENOSPC, "No space left on device", "a.png"), 74, "error: writing a.png failed: No space left"),
        (OSError(errno.EROFS, "Read-only file system"), 74, "error: writing a file failed: Read-only file system\n"),
        (MemoryError("4 TB"), 74, "error: out of memory: 4 TB; lower train.batch_size"),
    ],
)
def test_other_ends(error, code, text, monkeypatch, capsys):
    found, stderr = end(failing(error), monkeypatch, capsys)
    assert found == code and stderr.startswith(text) and stderr.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), FileNotFoundError(2, "gone", "x")])
def test_the_traceback_of_a_bug_is_in_the_file_that_is_named(error, monkeypatch, capsys):
    code, stderr = end(failing(error), monkeypatch, capsys)
    assert code == 1 and stderr.count("\n") == 1
    assert stderr.startswith(f"error: a bug: {type(error).__name__}: {error}; traceback in ")
    report = pathlib.Path(stderr.strip().rpartition(" ")[2])
    assert type(error).__name__ in report.read_text() and "in script" in report.read_text()
    report.unlink()


def test_success_is_0_and_silent(monkeypatch, capsys):
    assert end(lambda _: None, monkeypatch, capsys) == (0, "")


def test_help_of_every_script_imports_nothing_slow(root):
    code = """
import contextlib, io, pathlib, runpy, sys
for file in sorted(pathlib.Path("scripts").glob("*.py")):
    sys.argv = [str(file), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        runpy.run_path(str(file), run_name="__main__")
    slow = {"jax", "flax", "optax", "orbax", "matplotlib", "scipy", "sklearn", "torch", "tensorflow"} & set(sys.modules)
    print(file.stem, text.getvalue().startswith("usage:"), *sorted(slow))
"""
    assert python(code).splitlines() == [f"{file.stem} True" for file in sorted((root / "scripts").glob("*.py"))]


def test_overrides_keep_all_after_the_first_equals_sign():
    flags = cli.parser("x")
    flags.add_argument("--config")
    args, overrides = cli.parse_with_overrides(flags, ["--config=a.py:b=c", "--config.x.y=k=v", "--config.z="])
    assert (args.config, overrides) == ("a.py:b=c", {"x.y": "k=v", "z": ""})


def test_the_data_folder_comes_from_the_flag_or_the_environment(monkeypatch):
    def parsed(*argv):
        flags = cli.parser("x")
        cli.add_data_dir(flags)
        return cli.parse(flags, argv).data_dir

    monkeypatch.setenv("VAE_JAX_DATA_DIR", "~/data")
    assert parsed() == pathlib.Path(os.path.expanduser("~/data"))
    assert parsed("--data_dir=other") == pathlib.Path("other")
    monkeypatch.setenv("VAE_JAX_DATA_DIR", "")
    assert parsed() is None
