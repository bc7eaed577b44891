"""The run folder: one run, one process at a time, one config."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import json
import math
import os
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from vae_jax import config as configs
from vae_jax.config_rules import flatten
from vae_jax.errors import ConfigError, Diverged, OutputError, StorageError


@contextlib.contextmanager
def open_folder(path: pathlib.Path, config: Mapping[str, Any]) -> Iterator[pathlib.Path]:
    """Create the folder or reopen that of the same run, and hold it against other processes.

    Raises:
        ConfigError: it holds a run of another config; the message names the fields.
        OutputError: it cannot be created or written, holds something else, or another process is using it.
    """
    path = pathlib.Path(path).expanduser().resolve()
    try:
        # A folder with other things in it is never touched; one with only these is a run that died at birth.
        if (
            path.is_dir()
            and not (path / "config.json").exists()
            and not all(name == ".lock" or fnmatch.fnmatch(name, ".config.*.part.json") for name in os.listdir(path))
        ):
            raise OutputError(f"{path} is not empty and holds no run (no config.json); choose another --workdir")
        _refuse_other(path, config)
        created = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / ".lock", "a+")  # noqa: SIM115 (held for the whole run; the kernel frees it on any death)
    except OSError as error:
        raise OutputError(f"--workdir={path} cannot be written: {error.strerror}") from error
    with lock:
        acquire(lock, str(path))
        _refuse_other(path, config)  # once more: another process may have made it in between
        new = not (path / "config.json").exists()
        if new:
            write_text(path / "config.json", configs.to_json(config))
        try:
            yield path
        except ConfigError:
            if new and not (path / "manifest.json").exists():  # it never began: leave nothing that stands in the way
                _undo(path, created)
            raise


def acquire(lock: Any, what: str) -> None:
    """Take the lock of an open file, which the kernel frees however the process ends, and write down who holds it.

    Who only looks whether it is held has it for a moment, so this tries for half a second.

    Raises:
        OutputError: another process holds it.
    """
    for _ in range(10):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        time.sleep(0.05)
    else:
        lock.seek(0)
        raise OutputError(f"{what} is in use by {lock.read().strip() or 'another process'}")
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}")
    lock.flush()


def write_json(path: pathlib.Path, content: Any) -> None:
    """Write JSON atomically: readers see the old file or the new one.

    Raises:
        Diverged: a figure is not finite, which JSON cannot hold; the message names it.
        StorageError: the disk is full or gone; the old file is intact.
    """
    for name, value in flatten(content):
        if isinstance(value, float) and not math.isfinite(value):
            raise Diverged(f"{name} is {value}, so {path} is not written")
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text file atomically, as `write_json`."""
    with replacing(path) as part:
        part.write_text(text)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give a path beside `path`, of the same suffix, to write to; at the end it takes the place of the old file.

    Readers see the old file or the new one.

    Raises:
        StorageError: the disk is full or gone; the old file is intact.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StorageError(f"writing {path} failed: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def read_config(path: pathlib.Path) -> Mapping[str, Any]:
    """Return the resolved config of a run folder.

    Raises:
        ConfigError: it is no run folder, or its config.json is damaged.
    """
    return configs.from_json(json.dumps(_read_json(path / "config.json", "data", "model", "train")))


def read_manifest(path: pathlib.Path) -> dict[str, Any]:
    """Return the manifest of a run folder.

    Raises:
        ConfigError: it has none yet, or it is damaged.
    """
    manifest = _read_json(path / "manifest.json", "data")
    for field in "shape", "num_classes", "sha256":
        if field not in manifest["data"]:
            raise ConfigError(f"{path / 'manifest.json'} lacks data.{field}")
    return manifest


def read_results(path: pathlib.Path) -> dict[str, Any]:
    """Return what a finished run wrote as results.json.

    Raises:
        ConfigError: it is damaged.
    """
    return _read_json(path / "results.json", "test", "baselines")


def _read_json(file: pathlib.Path, *groups: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        above = next((path for path in file.parent.resolve().parents if (path / file.name).is_file()), None)
        hint = f"; did you mean {above}?" if above else ""
        raise ConfigError(f"{file.parent} is no run folder, or not a whole one: it has no {file.name}{hint}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(group), dict) for group in groups):
        raise ConfigError(f"{file} is not that of a run: it must hold {', '.join(groups)}")
    return content


def _undo(path: pathlib.Path, created: bool) -> None:
    with contextlib.suppress(OSError):
        for name in "config.json", ".lock":
            (path / name).unlink()
        if created:
            path.rmdir()


def _refuse_other(path: pathlib.Path, config: Mapping[str, Any]) -> None:
    differing = configs.differences(read_config(path), config) if (path / "config.json").exists() else []
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ConfigError(
            f"{path} holds a run of another config ({'; '.join(differing[:3])}{more}); use another --workdir"
        )
