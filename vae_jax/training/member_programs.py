"""The compiled programs of a group of members, and the memory that they take."""

from __future__ import annotations

import concurrent.futures
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.data.feed import Feed
from vae_jax.precision import with_products
from vae_jax.training.loop import best_of
from vae_jax.training.member_mesh import MemberMesh, batched
from vae_jax.training.optim import Optimizer
from vae_jax.training.step import init_state, make_chunk, make_step
from vae_jax.types import Hypers, Model, TrainState, Tree

_SHARE = 0.9  # of the memory that is free may be planned for


class Sizes(NamedTuple):
    """The shapes of a group's programs."""

    slots: int  # M, a multiple of the rows of the mesh
    steps: int  # S of a call
    batch: int  # B
    validation_batch: int  # V


class Programs(NamedTuple):
    """What trains the M members of a group. What has M in front lies on the mesh as `MemberMesh.members` says."""

    placement: MemberMesh
    sizes: Sizes
    abstract: Tree  # shapes and shardings of the tree of a group: that of a checkpoint, each leaf [M, ...]
    start: Callable[[jax.Array, Hypers], Tree]  # (keys [M], hypers, each [M]) -> that tree before the first step
    chunk: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    """(state, rows [M,S,B], steps in an epoch [M], active [M], steps) -> (state, metrics, each [M,S]); what comes of
    members that are not active means nothing, and where members are run one after another they take no time"""
    evaluate: Callable[..., dict[str, jax.Array]]
    """(params, stats, hypers, rows [M,V], active [M]) -> metrics of validation, each [M,V]"""
    select: Callable[..., Tree]  # (best, state, loss [M], chosen [M]) -> best, that of `state` for those chosen
    bytes_once: int  # that they take on a device, however many members it has, beside the data
    bytes_each: int  # and for each of its members


def compile_group(
    model: Model,
    optimizer: Optimizer,
    precisions: tuple[str, str],
    feeds: Mapping[str, Feed],
    evaluation_key: jax.Array,
    hypers: Hypers,
    placement: MemberMesh,
    sizes: Sizes,
) -> Programs:
    """Compile; nothing is run, and no memory taken but that of the data on every device.

    Args:
        model: the architecture.
        optimizer: hypers -> gradient transformation.
        precisions: of the products in training and in validation.
        feeds: train and validation.
        evaluation_key: of the noise in validation.
        hypers: of any member.
        placement: the devices.
        sizes: the shapes.
    """
    data, held_out_data = jax.device_put([feeds[name].arrays for name in ("train", "validation")], placement.everywhere)
    at_once = batched(placement.mesh.devices.flat[0].platform)
    begin, chunk, evaluate = _of_one(model, optimizer, precisions, feeds, evaluation_key, at_once)

    def lowered(function: Callable[..., Any], shared: Any, *each: Any, donated: tuple[int, ...] = ()) -> Any:
        mapped = placement.over_members(function, at_once)
        return jax.jit(lambda *args: mapped(args[0], args[1:]), donate_argnums=donated).lower(shared, *each)

    abstract = _stacked(jax.eval_shape(begin, jax.random.key(0), hypers), sizes.slots, placement.members)
    state = TrainState(**abstract["state"])
    number, per_epoch, active, rows, row = _inputs(placement, sizes)
    run = lowered(chunk, (data, number), state, rows, per_epoch, active, donated=(1,))
    judge = lowered(evaluate, held_out_data, state.params, state.stats, state.hypers, row, active)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        run, judge = threads.map(lambda program: program.compile(), (run, judge))
    needed = _needed(run, judge, (data, held_out_data), at_once, sizes.slots // placement.num_rows)
    return Programs(
        placement,
        sizes,
        abstract,
        jax.jit(jax.vmap(begin), out_shardings=placement.members),
        lambda state, rows, per_epoch, active, steps: run((data, jnp.int32(steps)), state, rows, per_epoch, active),
        functools.partial(judge, held_out_data),
        jax.jit(jax.vmap(_select), donate_argnums=0, out_shardings=placement.members),
        *needed,
    )


def free_bytes(placement: MemberMesh) -> float:
    """Return the memory that may be planned for on a device of the mesh; inf where the system does not tell.

    Devices of a CPU share what the machine has available.
    """
    devices = placement.mesh.local_devices
    if devices[0].platform != "cpu":
        figures = [device.memory_stats() or {} for device in devices]
        free = [f["bytes_limit"] - f["bytes_in_use"] for f in figures if "bytes_limit" in f]
        return _SHARE * min(free, default=float("inf"))
    told = pathlib.Path("/proc/meminfo")
    if not told.exists():
        return float("inf")
    available = next(line for line in told.read_text().splitlines() if line.startswith("MemAvailable"))
    return _SHARE * 1024 * int(available.split()[1]) / len(devices)


def _of_one(
    model: Model,
    optimizer: Optimizer,
    precisions: tuple[str, str],
    feeds: Mapping[str, Feed],
    evaluation_key: jax.Array,
    at_once: bool,
) -> tuple[Callable[..., Any], ...]:
    """Return what is done to one member: how it begins, a chunk of steps, and validation."""
    train, held_out = feeds["train"], feeds["validation"]

    def begin(key: jax.Array, hypers: Hypers) -> Tree:
        state = init_state(model, optimizer, key, hypers)
        return {"state": state._asdict(), "best": best_of(state, jnp.inf)}

    def batch_of(arrays: Any, row: jax.Array, step: jax.Array):
        stored, steps = arrays
        return train.batch(stored, row, step // steps, training=True)

    one_chunk = make_chunk(make_step(model, optimizer, precisions[0]), batch_of)

    def chunk(shared: Any, state: TrainState, rows: jax.Array, per_epoch: jax.Array, active: jax.Array):
        stored, steps = shared
        # At once, those who have ended go on, for none to see: to stop them would take a second copy of all states.
        end = steps if at_once else jnp.where(active, steps, 0)
        return one_chunk(state, (stored, per_epoch), rows, jnp.int32(0), end)

    def evaluate(stored: Any, params: Tree, stats: Tree, hypers: Hypers, row: jax.Array) -> dict[str, jax.Array]:
        metrics = with_products(precisions[1], model.evaluate)
        return metrics(params, stats, held_out.batch(stored, row, 0), evaluation_key, hypers)

    return begin, chunk, _if_active(evaluate)


def _if_active(function: Callable[..., Tree]) -> Callable[..., Tree]:
    """Return the function of one member with an argument more, the last; where it is false, zeros are returned."""

    def run(*args: Any) -> Tree:
        *args, active = args
        traced = functools.partial(jax.jit(function, inline=True), *args)  # once for the shapes and the work
        shapes = jax.eval_shape(traced)
        return jax.lax.cond(active, traced, lambda: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))

    return run


def _select(best: Tree, state: TrainState, loss: jax.Array, chosen: jax.Array) -> Tree:
    return jax.tree.map(lambda old, new: jnp.where(chosen, new, old), best, best_of(state, loss))


def _stacked(tree: Tree, slots: int, sharding: Any) -> Tree:
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((slots, *s.shape), s.dtype, sharding=sharding), tree)


def _inputs(placement: MemberMesh, sizes: Sizes) -> list[jax.ShapeDtypeStruct]:
    """Return the shapes of a number for all, two of one for each member, and of rows [M,S,B] and [M,V] of examples."""
    shapes = [
        ((), jnp.int32, placement.everywhere),
        ((sizes.slots,), jnp.int32, placement.members),
        ((sizes.slots,), jnp.bool_, placement.members),
        ((sizes.slots, sizes.steps, sizes.batch), jnp.int32, placement.batches),
        ((sizes.slots, sizes.validation_batch), jnp.int32, placement.members),
    ]
    return [jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for shape, dtype, sharding in shapes]


def _needed(run: Any, judge: Any, data: tuple[Tree, Tree], at_once: bool, slots: int) -> tuple[int, int]:
    """Return `bytes_once` and `bytes_each` of a device with so many members."""
    training, validation = (program.memory_analysis() for program in (run, judge))
    train, held_out = (sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)) for arrays in data)
    selected = validation.argument_size_in_bytes - held_out
    kept = training.argument_size_in_bytes - train + training.output_size_in_bytes - training.alias_size_in_bytes
    # Beside what they keep: a copy of what has been the best so far.
    each = kept + validation.output_size_in_bytes + selected
    if at_once:
        return 0, (each + max(training.temp_size_in_bytes, validation.temp_size_in_bytes)) // slots
    # Where members are run one after another, what comes out of each is stacked beside what went in.
    stacked = training.output_size_in_bytes if slots > 1 else 0
    scratch = max(training.temp_size_in_bytes - stacked, validation.temp_size_in_bytes)
    return scratch, (each + stacked) // slots
