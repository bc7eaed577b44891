"""Members of one program on several devices: where each lives, and how those of one device are run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

_MEMBER = PartitionSpec("member")


class MemberMesh(NamedTuple):
    """Rows of devices: members are dealt out to the rows, and a member's batch to the devices of its row."""

    mesh: Mesh  # axes member and data
    members: NamedSharding  # [M, ...], M a multiple of `num_rows`
    batches: NamedSharding  # [M, S, B, ...]
    everywhere: NamedSharding

    @property
    def num_rows(self) -> int:
        """How many members are trained at the same time, each on devices of its own."""
        return self.mesh.shape["member"]

    def slots(self, num_members: int) -> int:
        """Return the least M that holds so many members."""
        return -(-num_members // self.num_rows) * self.num_rows

    def over_members(self, function: Callable[..., Any], at_once: bool) -> Callable[..., Any]:
        """Return mapped(shared, each) -> function(shared, *each) of every member, M in front of all of `each`.

        Along the axis data it is divided as jit divides it, so that what a batch is does not depend on devices.

        Args:
            function: (shared, *each) of one member.
            at_once: the members of a device in one batched computation, or else one after another: see `batched`.
        """

        def on_a_row(shared: Any, each: tuple) -> Any:
            if at_once:
                return jax.vmap(function, in_axes=(None, *[0] * len(each)))(shared, *each)
            return jax.lax.map(lambda one: function(shared, *one), each)

        return jax.shard_map(
            on_a_row,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), _MEMBER),
            out_specs=_MEMBER,
            axis_names={"member"},
            check_vma=False,
        )


def one_device_per_core() -> None:
    """Make every core of the CPU a device, on which members are trained side by side; before JAX starts.

    For programs that train members and no single models, since a single run takes all devices that there are. Where
    XLA_FLAGS says how many devices the CPU is to be, that holds. GPUs and TPUs are devices as ever.

    Raises:
        RuntimeError: JAX has started.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", _num_cores())


def place_members(num_members: int, batch_size: int, devices: Sequence[jax.Device] | None = None) -> MemberMesh:
    """Return the mesh for so many members: a row for each, while there are devices.

    Where devices are left over, rows have several of them, each with its share of the batch. Not so the cores of a CPU:
    XLA's threads use what is left over of them anyway, without the copies.

    Args:
        num_members: M.
        batch_size: B; a row has as many devices as divide it.
        devices: all of them are used, also those of a CPU; None for the local ones.
    """
    found = list(devices or jax.local_devices())
    rows = min(num_members, len(found))
    most = 1 if devices is None and found[0].platform == "cpu" else len(found) // rows
    width = next(n for n in range(most, 0, -1) if batch_size % n == 0)
    chosen = found[: rows * width]
    mesh = jax.make_mesh((rows, width), ("member", "data"), axis_types=(AxisType.Auto,) * 2, devices=chosen)
    specs = _MEMBER, PartitionSpec("member", None, "data"), PartitionSpec()
    return MemberMesh(mesh, *(NamedSharding(mesh, spec) for spec in specs))


def batched(platform: str) -> bool:
    """Tell whether members of one device are trained in one batched computation, or one after another.

    On a CPU one after another is as quick or quicker, whatever the network, and needs room for one member's work alone.
    Throughput over that of a plain run, 2 cores, a device each, jax 0.10.2, medians of timings when no other program
    took more than a fifth of a core:

    - 784-128-20, batch 64, M = 16: one after another 1.47, at once 1.23, at once on one device of both cores 1.08
    - convolutions 32-64-256-16, batch 128, M = 4: 1.08, 1.02, 0.95, for these use both cores in a plain run too

    Elsewhere it is not measured yet: a small model leaves most of a GPU idle, which members at once fill. Convolutions
    of members at once are grouped ones there, and may be the exception.
    """
    return platform != "cpu"


def _num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
