"""Decoded data sets on disk: prepared once, written atomically, checked whenever they are opened.

A prepared set is a folder of .npy files, read through the page cache, and meta.json with their SHA-256. It is written
beside its place and renamed, under a lock, so that two processes that need the same set prepare it once.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.dataset import Dataset, Split
from vae_jax.errors import OutputError, StorageError

_BLOCK = 64e6  # bytes decoded, written and hashed at once


class Place(NamedTuple):
    """Where the data are looked for and kept."""

    data_dir: pathlib.Path | None  # original files, or your own
    cache_dir: pathlib.Path
    say: Callable[[str], None]  # tells of what takes time


class Stored:
    """Lazy pictures in an .npy file. They are opened when first read, so a copy for another process is a path."""

    def __init__(self, path: pathlib.Path, sha256: str):
        self.path, self.sha256 = path, sha256
        self.shape, self.dtype = self._array.shape, self._array.dtype

    @functools.cached_property
    def _array(self) -> np.ndarray:
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._array[index]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_array"}


def default_cache_dir() -> pathlib.Path:
    """Return $VAE_JAX_CACHE_DIR, or vae_jax in the user's cache folder.

    Raises:
        OutputError: neither is set, and the user has no home.
    """
    given, caches = os.environ.get("VAE_JAX_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    try:
        return pathlib.Path(given or pathlib.Path(caches or "~/.cache", "vae_jax")).expanduser()
    except RuntimeError as error:
        raise OutputError(f"there is no cache folder ({error}); set VAE_JAX_CACHE_DIR to one") from error


def cached(place: Place, key: str, make: Callable[[], Dataset]) -> Dataset:
    """Return the prepared set `key`, or prepare it from what `make()` returns.

    Raises:
        OutputError: the cache folder cannot be written.
        StorageError: writing failed half-way, as on a full disk; nothing is left of the attempt.
    """
    folder = place.cache_dir / "data" / key
    found = _open(folder, place)
    if found is not None:
        return found
    with _locked(folder, place):
        found = _open(folder, place)  # another process may have been quicker
        if found is None:
            _store(folder, make())
            found = _open(folder, place)
    if found is None:
        raise StorageError(f"{folder} was written and cannot be read back; is the disk sound?")
    return found


@contextlib.contextmanager
def _locked(folder: pathlib.Path, place: Place) -> Iterator[None]:
    """Hold a folder of the cache, which need not exist yet, against other processes; waits for them.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_name(folder.name + ".lock"), "a")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise _cannot_write(place, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            place.say(f"waiting for another process that prepares {folder.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cannot_write(place: Place, error: OSError) -> OutputError:
    return OutputError(
        f"the cache folder {place.cache_dir} cannot be written ({error.strerror}); set VAE_JAX_CACHE_DIR to another"
    )


def _open(folder: pathlib.Path, place: Place) -> Dataset | None:
    """Return the set in a folder of the cache, or None where there is none or it is damaged."""
    try:
        there = (folder / "meta.json").is_file()
    except OSError as error:
        raise _cannot_write(place, error) from error
    if not there:
        return None
    try:
        meta = _read_meta(folder)
        splits = {name: _open_split(folder, name, files) for name, files in meta.pop("splits").items()}
        return Dataset(splits=splits, **meta | {"skipped": tuple(meta["skipped"])})
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        place.say(f"{folder} is damaged ({error or type(error).__name__}); preparing it again")
        return None


def _read_meta(folder: pathlib.Path) -> dict[str, Any]:
    written = json.loads((folder / "meta.json").read_text())
    if written["sha256"] != _json_sha256(written["meta"]):
        raise ValueError("meta.json has another SHA-256 than when it was written")
    return written["meta"]


def _json_sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _open_split(folder: pathlib.Path, split: str, files: dict[str, str]) -> Split:
    arrays: dict[str, Any] = {name: Stored(folder / f"{split}-{name}.npy", sha) for name, sha in files.items()}
    for name, array in arrays.items():
        digest = hashlib.sha256()
        for block in blocks(array):
            digest.update(np.ascontiguousarray(block))
        if digest.hexdigest() != files[name]:
            raise ValueError(f"{split}-{name}.npy has another SHA-256 than when it was written")
    return Split(**{name: array if name == "images" else array[:] for name, array in arrays.items()})


def blocks(array: Any) -> Iterator[np.ndarray]:
    """Yield an array or lazy pictures in blocks of rows that are small enough for memory."""
    rows = max(1, int(_BLOCK * len(array) / max(1, np.prod(array.shape) * array.dtype.itemsize)))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _store(folder: pathlib.Path, dataset: Dataset) -> None:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    size = sum(np.prod(split.images.shape) * split.images.dtype.itemsize for split in dataset.splits.values())
    free = shutil.disk_usage(folder.parent).free
    if size > free:
        raise StorageError(
            f"{dataset.name} takes {size / 1e6:.0f} MB decoded, and {folder.parent} has {free / 1e6:.0f} MB left; "
            "set VAE_JAX_CACHE_DIR to a folder with more"
        )
    try:
        part.mkdir()
        meta = dataset._asdict() | {"splits": {name: _write(part, name, s) for name, s in dataset.splits.items()}}
        (part / "meta.json").write_text(json.dumps({"meta": meta, "sha256": _json_sha256(meta)}, indent=2))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        for path in part.iterdir():
            _sync(path)
        part.rename(folder)
    except OSError as error:
        raise StorageError(f"writing {part} failed: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(part: pathlib.Path, split: str, content: Split) -> dict[str, str]:
    """Write what a split holds and return the SHA-256 of each array."""
    checksums = {}
    for name, array in content._asdict().items():
        if array is None:
            continue
        digest = hashlib.sha256()
        header = {"descr": array.dtype.str, "fortran_order": False, "shape": tuple(array.shape)}
        with open(part / f"{split}-{name}.npy", "wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            for block in blocks(array):
                digest.update(np.ascontiguousarray(block))
                file.write(np.ascontiguousarray(block))
        checksums[name] = digest.hexdigest()
    return checksums


def _sync(path: pathlib.Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
