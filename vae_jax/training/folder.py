"""The run folder: one run, one process at a time, one config."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from vae_jax import config as configs
from vae_jax.errors import ConfigError, DataError, OutputError
from vae_jax.storage import open_in_place, write_text


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
        lock = open_in_place(path / ".lock", "a+")
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


def read_config(path: pathlib.Path) -> Mapping[str, Any]:
    """Return the resolved config of a run folder.

    Raises:
        ConfigError: it is no run folder, or its config.json is damaged.
        DataError: config.json is not the config that the run began with, by the SHA-256 in its manifest.
    """
    file = path / "config.json"
    config = configs.from_json(json.dumps(_read_json(file, "data", "model", "train")))
    if not (path / "manifest.json").exists():  # it has not begun
        return configs.resolve(ml_collections.ConfigDict(config))
    began = _read_json(path / "manifest.json", "data").get("config_sha256")
    if began != configs.fingerprint(config):
        raise DataError(
            f"{file} is not the config that the run began with (SHA-256 {str(began)[:12]}... in manifest.json): it was "
            "edited or damaged; put the old one back, or train a run of its own"
        )
    return config


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
