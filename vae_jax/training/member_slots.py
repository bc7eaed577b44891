"""The slots of a group's programs, and who sits in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.data.order import steps_per_epoch
from vae_jax.streams import stream
from vae_jax.training.fingerprint import raw_keys
from vae_jax.training.member_data import Member
from vae_jax.training.member_programs import Programs
from vae_jax.training.optim import make_hypers
from vae_jax.types import Tree

EMPTY, RUNNING, FINISHED, PATIENCE, REQUEST = range(-1, 4)  # of a slot; the last three are to be delivered


class Group(NamedTuple):
    """Members in training."""

    step: int  # that all who are running have reached
    tree: Tree  # as a checkpoint of a run alone, every leaf [M, ...]
    number: np.ndarray  # [M] int32, of the member in each slot
    status: np.ndarray  # [M] int8

    @property
    def running(self) -> np.ndarray:
        """[M] bool."""
        return self.status == RUNNING


def begin(programs: Programs, config: Mapping[str, Any], members: Sequence[Member], numbers: range) -> Group:
    """Return the group of the members of these numbers before the first step; slots left over repeat the last one."""
    size = programs.sizes.batch
    number = np.minimum(np.arange(programs.sizes.slots, dtype=np.int32) + numbers[0], np.int32(numbers[-1]))
    status = np.where(np.arange(len(number)) < len(numbers), RUNNING, EMPTY).astype(np.int8)
    chosen = [members[i] for i in number]
    keys = jnp.stack([stream(member.seed, "model") for member in chosen])
    hypers = [make_hypers({**config["hypers"], **m.hypers}, steps_per_epoch(len(m.train), size)) for m in chosen]
    tree = programs.start(keys, jax.tree.map(lambda *values: np.stack(values), *hypers))
    return Group(0, tree, number, status)


def seated(group: Group, programs: Programs) -> Group:
    """Move those who are running to the slots of other programs, and forget the others. The old arrays are deleted."""
    chosen = np.resize(np.flatnonzero(group.running), programs.sizes.slots)  # repeats, to fill up
    status = np.where(np.arange(len(chosen)) < group.running.sum(), RUNNING, EMPTY).astype(np.int8)
    found = [_taken(group.tree, slot) for slot in chosen]
    tree = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
    jax.tree.map(lambda leaf: leaf.delete(), group.tree)  # before there are new ones: memory was planned for one set
    tree = _with_typed_key(jax.device_put(tree, programs.placement.members))
    return Group(group.step, tree, group.number[chosen], status)


def taken(tree: Tree, slot: int) -> Tree:
    """Return the checkpoint tree of a member as its run alone would save it, on the host."""
    return _with_typed_key(_taken(tree, slot))


def _taken(tree: Tree, slot: int) -> Tree:
    """Return the leaves of a slot, on the host, from the device that it lies on: no other takes part."""

    def where(leaf: jax.Array) -> tuple[jax.Array, np.int32]:
        for shard in leaf.addressable_shards:
            first, stop, _ = shard.index[0].indices(leaf.shape[0])
            if first <= slot < stop:
                return shard.data, np.int32(slot - first)
        raise AssertionError(f"slot {slot} lies on no device")

    leaves, structure = jax.tree.flatten(raw_keys(tree))
    return jax.tree.unflatten(structure, jax.device_get(_pick([where(leaf) for leaf in leaves])))


@jax.jit
def _pick(shards: list[tuple[jax.Array, jax.Array]]) -> list[jax.Array]:
    return [jax.lax.dynamic_index_in_dim(data, index, keepdims=False) for data, index in shards]


def _with_typed_key(tree: Tree) -> Tree:
    state = tree["state"]
    return tree | {"state": state | {"key": jax.random.wrap_key_data(state["key"])}}
