"""What the scripts share: flags, exit codes, one line for a mistake. Imports no JAX, so `--help` is quick."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from vae_jax.errors import ConfigError, OutputError, UserError

DATA_DIR_HELP = "folder with the original data files (default: $VAE_JAX_DATA_DIR); embedded data need none"


def process_started_at() -> float:
    """Return time.time() at the start of this process, as closely as the system tells."""
    try:
        ticks = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        since_boot = float(pathlib.Path("/proc/uptime").read_text().split()[0])
        return time.time() - since_boot + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time()


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that takes no abbreviations: a flag that is nearly right is a mistake."""
    return argparse.ArgumentParser(
        description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_data_dir(flags: argparse.ArgumentParser) -> None:
    """Add --data_dir."""
    flags.add_argument("--data_dir", default=os.environ.get("VAE_JAX_DATA_DIR") or None, help=DATA_DIR_HELP)


def parse_with_overrides(
    flags: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, dict[str, str]]:
    """Parse the flags, and `--config.path.to.field=value` as overrides.

    Raises:
        ConfigError: an argument that is neither, or one given twice.
    """
    names = [arg.partition("=")[0] for arg in argv if arg.startswith("--")]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{twice[0]} is given twice")
    args, rest = flags.parse_known_args(argv)
    overrides = {}
    for arg in rest:
        name, has_value, value = arg.partition("=")
        if not name.startswith("--config.") or not has_value:
            raise ConfigError(f"argument {arg!r} is unknown; a config field is set by --config.path.to.field=value")
        overrides[name.removeprefix("--config.")] = value
    return args, overrides


def parse(flags: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse the flags of a script that takes no overrides."""
    args, overrides = parse_with_overrides(flags, argv)
    if overrides:
        raise ConfigError(f"--config.{next(iter(overrides))}: the config of a finished run cannot be changed")
    return args


def output_file(path: str, suffix: str) -> pathlib.Path:
    """Return the path of a file to write, after checking that it can be.

    Raises:
        ConfigError: another suffix.
        OutputError: its folder does not exist or cannot be written.
    """
    out = pathlib.Path(path).expanduser()
    if out.suffix.lower() != suffix:
        raise ConfigError(f"--out={path} must end in {suffix}")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK) or out.is_dir():
        raise OutputError(f"--out={path} cannot be written: {out.parent} is no folder that can be written to")
    return out


def main(script: Callable[[Sequence[str]], Any]) -> None:
    """Run a script's `main(argv)` and end the process with the exit code of `vae_jax.errors`.

    0 done, 1 a bug, 2 usage or config, 65 bad data, 73 cannot create output, 74 storage, 75 stopped and resumable,
    76 diverged, 130 interrupted at once. A bug's traceback goes to a file that the message names.
    """
    try:
        script(sys.argv[1:])
        code = 0
    except UserError as error:
        code = _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = _complain("interrupted", 130)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (the reader has gone; nothing more to say)
        code = 0
    except MemoryError as error:
        code = _complain(f"out of memory: {error}; lower train.batch_size or evaluate.batch_size", 74)
    except Exception as error:
        if os.environ.get("VAE_JAX_DEBUG"):
            raise
        with tempfile.NamedTemporaryFile("w", prefix="vae_jax-error-", suffix=".txt", delete=False) as file:
            traceback.print_exc(file=file)
        text = str(error).splitlines()
        code = _complain(f"a bug: {type(error).__name__}: {text[0] if text else ''}; traceback in {file.name}", 1)
    sys.stdout.flush()
    sys.exit(code)


def _complain(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
