"""What is kept of members in training, so that a process that is killed loses none of them.

members.json           what is trained here, and in groups of how many: decided once, for free memory varies
group-0/slots-16/100/  a checkpoint of the whole group after 100 steps, in 16 slots
group-0/finished.json  all of its members have been delivered
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax import config as configs
from vae_jax.errors import ConfigError, Preempted, StorageError
from vae_jax.storage import write_json
from vae_jax.training.checkpoint import Checkpoints, newest_step, restore
from vae_jax.training.member_data import Member
from vae_jax.training.member_programs import Programs
from vae_jax.training.member_slots import Group


class Keep(NamedTuple):
    """Where and how often members in training are saved."""

    folder: pathlib.Path  # of nothing else; whoever calls holds a lock on it
    every_seconds: float  # the least time between two saves, as config.checkpoint
    stopping: Any  # its `signal_name` is read once per chunk, as in a run alone
    latest: int = 2  # so many checkpoints are kept of each number of slots


def agreed_size(keep: Keep, config: Mapping[str, Any], members: Sequence[Member], decide: Callable[[], int]) -> int:
    """Return how many members a group has: as it was decided when these members were begun here, or is now.

    Raises:
        ConfigError: the folder is of other members, or of another config.
        StorageError: what it says cannot be read.
    """
    path, identity = keep.folder / "members.json", _identity(config, members)
    if path.exists():
        try:
            begun = json.loads(path.read_text())
            found, size = begun["sha256"], int(begun["group_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path} cannot be read: {error}") from error
        if found != identity:
            raise ConfigError(f"{keep.folder} holds the training of other members; use another folder")
        return size
    size = decide()
    keep.folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"sha256": identity, "num_members": len(members), "group_size": size})
    return size


class Kept:
    """The checkpoints of a group. Use as a context manager."""

    def __init__(self, keep: Keep, number: int):
        self.keep, self.folder = keep, keep.folder / f"group-{number}"
        self._slots, self._writer, self._saved_at, self._saved_step = 0, None, time.monotonic(), -1

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)

    @property
    def finished(self) -> bool:
        """Whether all of its members have been delivered."""
        return (self.folder / "finished.json").exists()

    def restore(self, compiled: Callable[[int], Programs], say: Callable[[str], None]) -> Group | None:
        """Return the group of the newest undamaged checkpoint, or None where there is none.

        Args:
            compiled: slots -> programs of so many, or a few more, where devices do not divide them.
            say: is told of damage.

        Raises:
            StorageError: there are checkpoints and all are damaged, or they cannot be read at present.
        """
        problem = None
        for folder in sorted(self.folder.glob("slots-*"), key=_newest, reverse=True):
            slots = int(folder.name.removeprefix("slots-"))
            try:
                abstract = _abstract(compiled(slots), slots) if _newest(folder) >= 0 else None
                found = restore(folder, abstract, say)
            except StorageError as error:  # before the group shrank it was saved in more slots
                problem = problem or error
                continue
            if found:
                step, tree = found
                number, status = (np.array(tree.pop(name)) for name in ("number", "status"))
                return Group(step, tree, number, status)
        if problem:
            raise problem
        return None

    def save(self, group: Group, wait: bool = False) -> None:
        """Save the group, unless it is saved at this step already; with `wait`, return when it is on disk.

        Raises:
            StorageError: this save, or the one before it, failed; older steps are intact.
        """
        slots = len(group.number)
        if slots != self._slots:
            self.__exit__(None, None, None)
            self._slots, self._writer = slots, Checkpoints(self.folder / f"slots-{slots}", self.keep.latest)
        if group.step != self._saved_step:
            seats = jax.device_put({"number": group.number, "status": group.status})
            self._writer.save(group.step, group.tree | seats)
            self._saved_at, self._saved_step = time.monotonic(), group.step
        if wait:
            self._writer.wait()

    def save_if_due(self, group: Group, total: int) -> None:
        """Save when it is time to, or when a signal has arrived; see `save_if_asked`."""
        self.save_if_asked(group, total)
        if time.monotonic() - self._saved_at >= self.keep.every_seconds:
            self.save(group)

    def save_if_asked(self, group: Group, total: int) -> None:
        """Save when a signal has arrived.

        Raises:
            Preempted: it has; the group is saved.
            StorageError: see `save`.
        """
        if signal_name := self.keep.stopping.signal_name:
            self.save(group, wait=True)
            raise Preempted(f"{signal_name}: saved at step {group.step} of {total}; the same command resumes the run")

    def finish(self, step: int) -> None:
        """Note that all have been delivered, and delete what was to resume from."""
        self.__exit__(None, None, None)
        self._writer = None
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "finished.json", {"step": step})
        for path in self.folder.glob("slots-*"):
            shutil.rmtree(path, ignore_errors=True)


def _newest(folder: pathlib.Path) -> int:
    step = newest_step(folder)
    return -1 if step is None else step


def _abstract(programs: Programs, slots: int) -> dict[str, Any]:
    """Return the shapes of a checkpoint of so many slots, as the devices that the programs are for can hold it."""
    placement = programs.placement
    sharding = placement.everywhere if slots % placement.num_rows else placement.members

    def of(shape: tuple[int, ...], dtype: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((slots, *shape), dtype, sharding=sharding)

    seats = {"number": of((), np.int32, placement.everywhere), "status": of((), np.int8, placement.everywhere)}
    return jax.tree.map(lambda leaf: of(leaf.shape[1:], leaf.dtype, sharding), programs.abstract) | seats


def _identity(config: Mapping[str, Any], members: Sequence[Member]) -> str:
    digest = hashlib.sha256(configs.fingerprint(config).encode())
    for member in members:
        settings = [member.seed, member.order_seed, sorted(member.hypers.items())]
        digest.update(json.dumps(settings, default=float).encode())
        for examples in member.train, member.held_out:
            digest.update(f" {len(examples)} ".encode() + np.asarray(examples, np.int64).tobytes())
    return digest.hexdigest()
