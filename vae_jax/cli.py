"""What the scripts share: flags, exit codes, one line for a mistake. Imports no JAX, so `--help` is quick."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import pathlib
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from vae_jax.build import component, components, nearest
from vae_jax.errors import INTERRUPTED, ConfigError, UserError, complain, is_out_of_memory
from vae_jax.reporting.tracking import unfinished_trackers
from vae_jax.training.folder import read_config, read_manifest
from vae_jax.training.hosts import end_process
from vae_jax.training.joining import Standing, standing

DATA_DIR_HELP = "folder with the original data files (default: $VAE_JAX_DATA_DIR); embedded data need none"

_SAMPLERS = "tasks.samplers"
_TRACKERS = "reporting.trackers"


def process_started_at() -> float:
    """Return time.time() at the start of this process, as closely as the system tells."""
    try:
        ticks = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        since_boot = float(pathlib.Path("/proc/uptime").read_text().split()[0])
        return time.time() - since_boot + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser that takes no abbreviations: a flag that is nearly right is a mistake."""
    return _Parser(description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_data_dir(flags: argparse.ArgumentParser) -> None:
    """Add --data_dir."""
    default = os.environ.get("VAE_JAX_DATA_DIR") or None
    flags.add_argument("--data_dir", type=path, default=default, help=DATA_DIR_HELP)


def add_config(flags: argparse.ArgumentParser, default: str) -> None:
    """Add --config, and --workdir for the folder that the run is to be in: see `run_folder`."""
    flags.add_argument("--config", default=default, help="config file, with :argument if it takes one")
    flags.add_argument("--workdir", type=path, help="run folder (default: runs/<config>-<fingerprint>)")


def add_trackers(flags: argparse.ArgumentParser, default: str = "tensorboard") -> None:
    """Add --trackers; see `vae_jax.reporting.tracking.parse_names`."""
    known = ",".join(components(_TRACKERS))
    flags.add_argument("--trackers", default=default, help=f"some of {known}, or none (default: {default})")


def add_processes(flags: argparse.ArgumentParser) -> None:
    """Add the flags of one process of several; see `check_processes`."""
    flags.add_argument("--coordinator", help="host:port where process 0 can be reached")
    flags.add_argument("--num_processes", type=int, help="how many train one model together")
    flags.add_argument("--process_id", type=int, help="the number of this one, from 0")


def check_processes(args: argparse.Namespace) -> Standing | None:
    """Return where this process stands among several, by its flags or under `srun`; None where it is alone.

    Raises:
        ConfigError: see `standing`.
    """
    return standing(args.coordinator, args.num_processes, args.process_id, os.environ)


def add_sampler(flags: argparse.ArgumentParser) -> None:
    """Add --sampler."""
    known = ", ".join(components(_SAMPLERS))
    flags.add_argument("--sampler", help=f"{known} (default: prior where there is one, else gaussian)")


def check_sampler(name: str | None) -> None:
    """Check --sampler, before JAX is imported.

    Raises:
        ConfigError: it is unknown.
    """
    if name is not None:
        component(_SAMPLERS, name, "--sampler")


def run_folder(args: argparse.Namespace, fingerprint: str) -> pathlib.Path:
    """Return --workdir, or the folder that is named by the config file and the fingerprint of the config."""
    stem = pathlib.Path(args.config.partition(":")[0]).stem
    return args.workdir or pathlib.Path("runs", f"{stem}-{fingerprint[:8]}")


def add_workdir(flags: argparse.ArgumentParser) -> None:
    """Add --workdir, the folder of a run that exists."""
    flags.add_argument("--workdir", type=path, required=True, help="run folder")


def path(text: str) -> pathlib.Path:
    """Return the path that a flag gives; `~` is the home directory."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def parse_with_overrides(
    flags: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, dict[str, str]]:
    """Parse the flags, and `--config.path.to.field=value` as overrides.

    Raises:
        ConfigError: an argument that is neither, or one given twice.
    """
    args, rest = _parse(flags, argv)
    overrides = {}
    for arg in rest:
        name, has_value, value = arg.partition("=")
        if not name.startswith("--config.") or not has_value:
            raise ConfigError(f"{_unknown(flags, arg)}; a config field is set by --config.path.to.field=value")
        overrides[name.removeprefix("--config.")] = value
    return args, overrides


def parse(flags: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse the flags of a script that takes no overrides."""
    args, rest = _parse(flags, argv)
    for arg in rest:
        if arg.startswith("--config."):
            raise ConfigError(f"{arg}: the config of a finished run cannot be changed")
        raise ConfigError(f"{_unknown(flags, arg)}; see --help")
    return args


def check_label(workdir: pathlib.Path, label: int | None, needed: bool = False) -> None:
    """Check --label against a run, before JAX is imported.

    Args:
        workdir: the run folder.
        label: the flag.
        needed: whether a conditional model cannot do without.

    Raises:
        ConfigError: no run folder, a model without labels, a label that it does not know, or none where one is needed.
    """
    conditional = read_config(workdir)["model"].get("condition", False)
    if label is None:
        if conditional and needed:
            raise ConfigError("--label is not given, and the model of this run (model.condition=True) needs it")
        return
    if not conditional:
        raise ConfigError(f"--label={label}: the model of this run was not given labels (model.condition=False)")
    known = read_manifest(workdir)["data"]["num_classes"]
    if not 0 <= label < known:
        raise ConfigError(f"--label={label} is not allowed: expected 0..{known - 1}")


def main(script: Callable[[Sequence[str]], Any]) -> None:
    """Run a script's `main(argv)` and end the process with the exit code of `vae_jax.errors`.

    0 done, 1 a bug, 2 usage or config, 65 bad data, 73 cannot create output, 74 storage, 75 stopped and resumable,
    76 diverged, 77 not reproduced, 78 runs of a sweep have failed, 130 interrupted at once. A bug's traceback goes to a
    file that the message names.
    """
    for name in "stdin", "stdout", "stderr":
        if getattr(sys, name) is None:  # closed by who started us: else the next file that is opened takes its number
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 (to the end)
    gc.set_threshold(50_000)  # at 700 a tenth of the start goes into looking for garbage among what was just imported
    code = _run(script)
    sys.stdout.flush()
    end_process(code, at_once=unfinished_trackers())  # else W&B waits at the exit for what was given up


def _run(script: Callable[[Sequence[str]], Any]) -> int:
    try:
        script(sys.argv[1:])
        return 0
    except UserError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (the reader has gone; nothing more to say)
        return 0
    except MemoryError as error:
        return _complain(f"out of memory: {error}; lower train.batch_size or evaluate.batch_size", 74)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            return _complain(f"writing {error.filename or 'a file'} failed: {error.strerror}", 74)
        if is_out_of_memory(error):
            return _complain(f"out of memory ({error}); lower train.batch_size or evaluate.batch_size", 74)
        if os.environ.get("VAE_JAX_DEBUG"):
            raise
        with tempfile.NamedTemporaryFile("w", prefix="vae_jax-error-", suffix=".txt", delete=False) as file:
            traceback.print_exc(file=file)
        text = str(error).splitlines()
        return _complain(f"a bug: {type(error).__name__}: {text[0] if text else ''}; traceback in {file.name}", 1)


def _parse(flags: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    names = [arg.partition("=")[0] for arg in argv if arg.startswith("--")]
    lists = [action.option_strings for action in flags._actions if isinstance(action, argparse._AppendAction)]
    twice = sorted({name for name in names if names.count(name) > 1}.difference(*lists))
    if twice:
        raise ConfigError(f"{twice[0]} is given twice")
    return flags.parse_known_args(argv)


def _unknown(flags: argparse.ArgumentParser, arg: str) -> str:
    name = arg.partition("=")[0]
    chosen = [a for a in flags._actions if isinstance(a, argparse._SubParsersAction)]
    parsers = [flags, *(some for action in chosen for some in action.choices.values())]
    known = [flag for some in parsers for action in some._actions for flag in action.option_strings]
    return f"argument {arg!r} is unknown{nearest(name, known) if name.startswith('--') else ''}"


def _complain(message: str, code: int) -> int:
    complain(f"error: {message}")
    return code
