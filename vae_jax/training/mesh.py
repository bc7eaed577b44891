"""Devices: the state is on all of them, each has its share of every batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vae_jax.errors import ConfigError


class Placement(NamedTuple):
    """Shardings over a one-dimensional mesh of devices."""

    everywhere: NamedSharding
    steps_of_batches: NamedSharding  # [S, B, ...]
    num_devices: int

    def put_steps(self, rows: Any) -> Any:
        """Put a tree of arrays [S, B / processes, ...] on the devices, this process's share of [S, B, ...]."""
        return jax.tree.map(lambda r: jax.make_array_from_process_local_data(self.steps_of_batches, r), rows)


def place(num_devices: int | None = None) -> Placement:
    """Return the placement over all local devices, or the first `num_devices` of them."""
    devices = jax.local_devices()[:num_devices]
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
