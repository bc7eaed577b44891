"""How files are written: beside their place and then put there, so that none is half-written and no link is followed.

A link that lies in a run folder, a planted one say, must not make a run write over what it points to.
"""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import pathlib
import secrets
import time
from collections.abc import Iterator
from typing import IO, Any

from vae_jax.config_rules import flatten
from vae_jax.errors import Diverged, OutputError, StorageError

_ABANDONED = 3600.0  # seconds after which a part is one that a killed process left


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
    part = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.part{path.suffix}")
    try:
        for old in path.parent.glob(f".{glob.escape(path.stem)}.*.part{glob.escape(path.suffix)}"):
            if time.time() - old.lstat().st_mtime > _ABANDONED:
                old.unlink()
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StorageError(f"writing {path} failed: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def subfolder(path: pathlib.Path) -> pathlib.Path:
    """Make a folder inside one that is written to, if need be, and return it.

    Raises:
        OutputError: it is a link.
        StorageError: it cannot be made.
    """
    if path.is_symlink():
        raise OutputError(f"{path} is a link, and what is written there would come to lie elsewhere; remove the link")
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"writing {path} failed: {error.strerror}") from error
    return path


def open_in_place(path: pathlib.Path, mode: str) -> IO[Any]:
    """Open a file to append to, as `open` does, but no link.

    Raises:
        OSError: it is a link, among the usual.
    """
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))
