"""Checkpoints: the only module that knows Orbax.

Orbax writes asynchronously and atomically, but loads a flipped byte of array data without an error and has no way back
from a damaged step. So a fingerprint of the state is committed with every step and compared at restore; a step that
fails is set aside under another name and the one before it is used.
"""

from __future__ import annotations

import logging
import pathlib
import shutil
import time
from typing import Any

import jax

from vae_jax.errors import ConfigError, StorageError
from vae_jax.training.fingerprint import fingerprint, raw_keys
from vae_jax.types import Tree


class Checkpoints:
    """The checkpoints of one run, written by one process. Use as a context manager."""

    def __init__(self, folder: pathlib.Path, keep: int):
        self.folder, self.keep = folder, keep
        self._writer: Any = None
        self._pending: Any = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        try:
            self.wait()
            if self._writer is not None:
                with _one_line(self.folder):
                    self._writer.close()
        except StorageError:
            if kind is None:  # else the error on its way says what matters; Orbax repeats a failure at every call
                raise

    def save(self, step: int, tree: Tree) -> None:
        """Start writing `tree` as `step`; returns once it is copied to the host.

        Raises:
            StorageError: this save, or the one before it, failed; older steps are intact.
        """
        ocp = _orbax()
        self.wait()
        with _one_line(self.folder):
            if self._writer is None:
                policy = ocp.training.preservation_policies.LatestN(self.keep)
                self._writer = ocp.training.Checkpointer(
                    self.folder, preservation_policy=policy, cleanup_tmp_directories=True
                )
            metadata = {"fingerprint": fingerprint(tree)}
            self._pending = self._writer.save_async(step, tree, force=True, overwrite=True, custom_metadata=metadata)

    def wait(self) -> None:
        """Wait until the last save is on disk.

        Raises:
            StorageError: it failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            with _one_line(self.folder):
                pending.result()


def newest_step(folder: pathlib.Path) -> int | None:
    """Return the newest committed step, or None."""
    return max(_steps(folder), default=None)


def restore(folder: pathlib.Path, abstract: Tree, report: Any = print) -> tuple[int, Tree] | None:
    """Return (step, tree) of the newest undamaged checkpoint, or None where there is none at all.

    Args:
        folder: the run's checkpoints.
        abstract: a tree of `jax.ShapeDtypeStruct`s with shardings, of the shapes to expect.
        report: called with a line for each damaged step, which is renamed to corrupt-<step>-<time>.

    Raises:
        ConfigError: the checkpoint is sound, but of another model.
        StorageError: there are checkpoints and all are damaged.
    """
    damaged = []
    for step in sorted(_steps(folder), reverse=True):
        try:
            return step, _load(folder / str(step), abstract)
        except ConfigError:
            raise
        except Exception as error:
            aside = folder / f"corrupt-{step}-{int(time.time())}"
            (folder / str(step)).rename(aside)
            damaged.append(step)
            report(f"checkpoint {step} is damaged ({_reason(error)}); set aside as {aside.name}")
    if damaged:
        raise StorageError(
            f"every checkpoint in {folder} is damaged (steps {damaged}); delete the folder to start anew"
        )
    return None


def load_best(folder: pathlib.Path, report: Any = print) -> tuple[Tree, Tree]:
    """Return (params, stats) selected by validation in the newest undamaged checkpoint, whatever the optimizer.

    Raises:
        StorageError: there is no checkpoint, or all are damaged.
    """
    found = restore(folder, None, report)
    if found is None:
        raise StorageError(f"no checkpoint in {folder}: the run has not saved one yet")
    return found[1]["best"]["params"], found[1]["best"]["stats"]


def _orbax() -> Any:
    # 1.2 s to import: only when a checkpoint is due.
    from orbax.checkpoint import v1 as ocp

    # What fails is raised to us; Orbax's threads would log the traceback as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    return ocp


def _steps(folder: pathlib.Path) -> list[int]:
    return [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []


def _load(path: pathlib.Path, abstract: Tree | None) -> Tree:
    ocp = _orbax()
    metadata = ocp.metadata(path)
    expected = metadata.custom_metadata["fingerprint"]
    if abstract is None:
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), metadata.metadata
        )
        # Without the optimizer's classes its tuples come back as lists: the paths differ, the order does not.
        tree = ocp.load(path, abstract)
        if list(fingerprint(tree).values()) != list(expected.values()):
            raise ValueError("its fingerprint differs")
        return tree
    _check_shapes(metadata.metadata, abstract, path)
    tree = ocp.load(path, abstract)
    found = fingerprint(tree)
    wrong = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    if wrong:
        raise ValueError(f"its fingerprint differs at {', '.join(sorted(wrong)[:3])}")
    return tree


def _check_shapes(stored: Tree, abstract: Tree, path: pathlib.Path) -> None:
    """Compare shapes and types in order: Orbax casts types silently and hides a wrong shape behind another error."""
    have = [(tuple(leaf.shape), str(leaf.dtype)) for leaf in jax.tree.leaves(stored)]
    want = [(tuple(leaf.shape), str(leaf.dtype)) for leaf in jax.tree.leaves(jax.eval_shape(raw_keys, abstract))]
    if sorted(have) != sorted(want):
        odd = next(
            (pair for pair in zip(sorted(have), sorted(want), strict=False) if pair[0] != pair[1]),
            (len(have), len(want)),
        )
        raise ConfigError(f"checkpoint {path} is of another model: it holds {odd[0]} where {odd[1]} is expected")


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).splitlines()[0][:120]


class _one_line:
    """Turn whatever a failed write raises into one StorageError."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, _: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, StorageError):
            for unfinished in self.folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            probe = self.folder if self.folder.exists() else self.folder.parent
            free = shutil.disk_usage(probe).free if probe.exists() else 0
            raise StorageError(
                f"writing a checkpoint in {self.folder} failed ({_reason(error)}); {free / 1e6:.1f} MB are free"
            ) from error
