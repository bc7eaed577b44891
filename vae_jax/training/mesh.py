"""Devices: each has its share of every batch, and the whole state or its share of that."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vae_jax.errors import ConfigError
from vae_jax.types import Tree

_LARGE = 1024  # values: to put the parts of fewer together takes longer than to keep them whole


class Placement(NamedTuple):
    """Shardings over a one-dimensional mesh of devices."""

    everywhere: NamedSharding
    steps_of_batches: NamedSharding  # [S, B, ...]
    num_devices: int

    def put(self, tree: Tree) -> Tree:
        """Put a tree of arrays, the same in every process, on all devices."""

        def whole(leaf: Any) -> jax.Array:
            values = np.asarray(leaf)
            return jax.make_array_from_callback(values.shape, self.everywhere, lambda part: values[part])

        return jax.tree.map(whole, tree)

    def put_steps(self, rows: Any) -> Any:
        """Put a tree of arrays [S, B / processes, ...] on the devices, this process's share of [S, B, ...]."""
        return jax.tree.map(lambda r: jax.make_array_from_process_local_data(self.steps_of_batches, r), rows)

    def abstract(self, shapes: Tree, shard: bool = False) -> Tree:
        """Return the shapes of a checkpoint tree with the sharding of each leaf.

        With `shard` a large one lies along the devices in its largest dimension that they divide. All others are on
        each device as a whole.
        """

        def of(leaf: Any) -> jax.ShapeDtypeStruct:
            fitting = [(size, -i) for i, size in enumerate(leaf.shape) if size % self.num_devices == 0]
            spec = [None] * len(leaf.shape)
            if shard and leaf.size >= _LARGE and fitting:
                spec[-max(fitting)[1]] = "data"
            sharding = NamedSharding(self.everywhere.mesh, PartitionSpec(*spec))
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        return jax.tree.map(of, shapes)


def place(num_devices: int | None = None) -> Placement:
    """Return the placement over the devices of all processes, or over the first `num_devices` of them.

    Raises:
        ConfigError: processes have different numbers of devices.
    """
    devices = jax.devices()[:num_devices]
    if num_devices is None and len(devices) != jax.local_device_count() * jax.process_count():
        raise ConfigError(
            f"{len(devices)} devices are not spread evenly over {jax.process_count()} processes: this one has "
            f"{jax.local_device_count()}; give each the same number"
        )
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    specs = PartitionSpec(), PartitionSpec(None, "data")
    return Placement(*(NamedSharding(mesh, spec) for spec in specs), len(devices))


def check_batch_size(batch_size: int, num_devices: int) -> None:
    """Refuse a batch that does not divide.

    Raises:
        ConfigError: naming both numbers.
    """
    if batch_size % num_devices:
        raise ConfigError(f"train.batch_size={batch_size} must be a multiple of the number of devices, {num_devices}")


def to_this_process(abstract: Tree) -> Tree:
    """Return an abstract tree with the devices of this process in place of those of all."""
    mesh = Mesh(np.array(jax.local_devices()), ("data",))

    def local(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, leaf.sharding.spec))

    return jax.tree.map(local, abstract)


def to_all_processes(tree: Tree, abstract: Tree) -> Tree:
    """Return the tree, which every process has read, on the devices of all."""

    def put(leaf: jax.Array, target: jax.ShapeDtypeStruct) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf), target)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, target.sharding, lambda part: values[part])

    return jax.tree.map(put, tree, abstract)


def copied_to_this_process(tree: Tree, placement: Placement) -> Tree:
    """Return a tree that a process can read by itself: whole, on its first device. All have to call this.

    A process alone reads it as it is.
    """
    if jax.process_count() == 1:
        return tree
    whole = jax.jit(_same, out_shardings=placement.everywhere)(tree)
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), whole)


def _same(tree: Tree) -> Tree:
    return tree
