"""Checkpoints: the only module that knows Orbax.

Orbax writes asynchronously and atomically, but loads a flipped byte of array data without an error and has no way back
from a damaged step. So a fingerprint of the state is committed with every step and compared at restore; a step that
fails is set aside under another name and the one before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import logging
import pathlib
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from vae_jax.errors import ConfigError, StorageError
from vae_jax.training.fingerprint import describe, digest, fingerprint, raw_keys
from vae_jax.training.hosts import ALONE, Hosts
from vae_jax.training.mesh import to_all_processes, to_this_process
from vae_jax.types import Tree


class Checkpoints:
    """The checkpoints of a run, `run`, which all its processes write together. Use as a context manager."""

    def __init__(self, folder: pathlib.Path, keep: int, run: str | None = None):
        self.folder, self.keep, self.run = folder, keep, run
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

    def save(self, step: int, tree: Tree, marks: Sequence[tuple[int, str]] = ()) -> None:
        """Start writing `tree` as `step`, with `marks` of metrics.jsonl; returns once it is copied to the host.

        Raises:
            StorageError: this save, or the one before it, failed; older steps are intact.
        """
        ocp, metadata = _orbax(), describe(tree, self.run, marks)
        self.wait()
        with _one_line(self.folder):
            if self._writer is None:
                kept = ocp.training.preservation_policies.LatestN(self.keep)
                options = {"preservation_policy": kept, "cleanup_tmp_directories": True}
                self._writer = ocp.training.Checkpointer(self.folder, **options)
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


def marks_of(folder: pathlib.Path, step: int) -> list[tuple[int, str]]:
    """Return the marks of metrics.jsonl that were saved with an undamaged step; none by an older version."""
    return [(marked, sha256) for marked, sha256 in _description(folder / str(step))[0].get("metrics", [])]


def restore(
    folder: pathlib.Path, abstract: Tree, report: Any = print, hosts: Hosts = ALONE, run: str | None = None
) -> tuple[int, Tree] | None:
    """Return (step, tree) of the newest undamaged checkpoint, or None where there has never been one.

    The process that holds the run folder has to call this, and with it all others of the run: each reads by itself, and
    a step that is damaged for one is damaged for all. It is renamed to corrupt-<step>-<time>.

    Args:
        folder: the run's checkpoints.
        abstract: a tree of `jax.ShapeDtypeStruct`s with shardings, of the shapes to expect.
        report: called with a line for each damaged step.
        hosts: the processes of the run.
        run: what tells it from others, as given to `Checkpoints`.

    Raises:
        ConfigError: the checkpoint is sound, but of another model or another run.
        StorageError: there are checkpoints and all are damaged, or they cannot be read at present.
    """
    found = None
    for step in hosts.agree(sorted(_steps(folder), reverse=True)):
        path, problem, tree = folder / str(step), None, None
        try:
            if found is None:
                tree = _load(path, abstract, run) if hosts.count == 1 else _load_by_itself(path, abstract, run)
            else:  # of the older steps only what Orbax reads of all before it writes: one bad one stops every save
                _description(path)
        except _Damaged as error:
            problem = str(error)
        problem = hosts.agree(problem, lambda problems: next(filter(None, problems), None))
        if problem is None:
            found = found or (step, tree)
        elif hosts.first:
            aside = folder / f"corrupt-{step}-{int(time.time())}"
            path.rename(aside)
            report(f"checkpoint {step} is damaged ({problem}); set aside as {aside.name}")
    if hosts.agree(found is None and folder.is_dir() and any(folder.glob("corrupt-*"))):
        raise StorageError(f"every checkpoint in {folder} is damaged; delete that folder to start the run anew")
    return found


def load_newest(folder: pathlib.Path) -> tuple[int, Tree]:
    """Return (step, tree) of the newest undamaged checkpoint, whatever the optimizer: its state is lists and dicts.

    It changes nothing in the folder, so a run that is still training may be read.

    Raises:
        StorageError: there is no checkpoint, or none that can be read.
    """
    reason = "the run has not saved one yet"
    for _ in range(3):  # a run that goes on may delete a step while it is read
        for step in sorted(_steps(folder), reverse=True):
            try:
                return step, _load(folder / str(step), None)
            except _Damaged as error:
                reason = f"step {step} cannot be read ({error})"
    raise StorageError(f"no checkpoint in {folder}: {reason}")


class _Damaged(Exception):
    """What is on disk is not what was written."""


def _description(path: pathlib.Path) -> tuple[dict[str, Any], Tree]:
    """Return what `describe` committed with a step, and Orbax's own tree of shapes."""
    metadata = _reading(lambda: _orbax().metadata(path))
    content = dict(metadata.custom_metadata or {})
    if content.pop("sha256", None) != digest(content):
        raise _Damaged("its description is not the one that was written")
    return content, metadata.metadata


def _load(path: pathlib.Path, abstract: Tree | None, run: str | None = None) -> Tree:
    """Load one step and compare its fingerprint; without `abstract` only that of parameters."""
    content, stored = _description(path)
    expected = content["fingerprint"]
    if abstract is None:
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device), stored)
        # Without the optimizer's classes its state comes back as lists and dicts, under other paths.
        expected = {name: v for name, v in expected.items() if name.startswith(("['best']", "['state']['params']"))}
    else:
        _check_table(content["table"], abstract, path)
        if run and content.get("run", run) != run:  # of the same shapes: nothing else would tell
            raise ConfigError(f"checkpoint {path} is of a run of another config; take it out, or start anew elsewhere")
    tree = _reading(lambda: _orbax().load(path, abstract))
    found = fingerprint(tree)
    wrong = [name for name, value in expected.items() if found.get(name) != value]
    if wrong:
        raise _Damaged(f"its fingerprint differs at {', '.join(sorted(wrong)[:3])}")
    return tree


def _load_by_itself(path: pathlib.Path, abstract: Tree, run: str | None) -> Tree:
    """Load one step, as every process of several does, without waiting for the others: one may find it damaged."""
    ocp, this = _orbax(), jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=this, active_processes={this})
    with ocp.Context(multiprocessing_options=options):
        return to_all_processes(_load(path, to_this_process(abstract), run), abstract)


def _reading(read: Callable[[], Any]) -> Any:
    """Call Orbax, which reports damage by exceptions of many kinds, and tell damage from a failing machine."""
    try:
        return read()
    except Exception as error:
        causes = error, error.__cause__, error.__context__
        no_access = any(isinstance(cause, OSError) and cause.errno not in (None, errno.ENOENT) for cause in causes)
        if no_access or isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            raise StorageError(f"a checkpoint cannot be read at present: {_reason(error)}") from error
        raise _Damaged(_reason(error)) from error


def _check_table(table: dict[str, Any], abstract: Tree, path: pathlib.Path) -> None:
    """Compare paths, shapes and types: Orbax casts types silently and hides a wrong shape behind another error."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(raw_keys, abstract))
    expected = {jax.tree_util.keystr(path): [list(leaf.shape), str(leaf.dtype)] for path, leaf in leaves}
    for name in sorted(table.keys() | expected.keys()):
        if table.get(name) != expected.get(name):
            holds, wants = (t.get(name, "nothing") for t in (table, expected))
            raise ConfigError(f"checkpoint {path} is of another model: it holds {holds} at {name}, expected {wants}")


@functools.cache
def _orbax() -> Any:
    # 1.2 s to import: only when a checkpoint is due.
    from orbax.checkpoint import v1 as ocp

    # What fails is raised to us; Orbax's threads and tasks would log the traceback as well, TensorStore would print one
    # for every file that it still writes when Orbax has closed its loop, and Python one for each task left over.
    warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
    for name in "absl", "asyncio":
        logging.getLogger(name).setLevel(logging.CRITICAL)
    told = sys.unraisablehook

    def tell(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed" and not inspect.iscoroutine(unraisable.object):
            told(unraisable)

    sys.unraisablehook = tell
    return ocp


def _steps(folder: pathlib.Path) -> list[int]:
    return [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []


def _reason(error: Exception) -> str:
    return (str(error.__cause__ or error) or type(error).__name__).splitlines()[0][:120]


@contextlib.contextmanager
def _one_line(folder: pathlib.Path) -> Iterator[None]:
    """Turn whatever a failed write raises into one StorageError."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        for unfinished in folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
        raise StorageError(
            f"writing a checkpoint in {folder} failed ({_reason(error)}); {free / 1e6:.1f} MB are free"
        ) from error
