"""Training of a group of members, from the first step to what is selected of each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.data.order import Order, steps_per_epoch
from vae_jax.errors import Diverged
from vae_jax.streams import stream
from vae_jax.training.member_programs import Programs
from vae_jax.training.optim import averaged_params, make_hypers
from vae_jax.types import Hypers, TrainState, Tree

Show = Callable[[int, np.ndarray, np.ndarray], None]  # (steps done, training loss [m], validation loss [m])


class Member(NamedTuple):
    """What sets one model apart from the others of its program."""

    seed: int  # of its parameters, its noise and the order of its examples
    train: np.ndarray  # [n], its examples of the training split
    held_out: np.ndarray  # [v], its examples of the validation split, which select its parameters
    hypers: Mapping[str, float] = {}  # in place of those of the config


class Best(NamedTuple):
    """The parameters of each member that its held-out examples selected; every leaf is [M, ...]."""

    params: Tree  # on the host, when training is over
    stats: Tree
    loss: np.ndarray  # [M], on the held-out examples
    step: np.ndarray  # [M], when they were reached

    def member(self, number: int) -> tuple[Tree, Tree]:
        """Return the parameters and the statistics of one member."""
        return jax.tree.map(lambda leaf: leaf[number], (self.params, self.stats))


def fit_group(
    programs: Programs,
    config: Mapping[str, Any],
    members: Sequence[Member],
    group: range,
    longest: int,
    show: Show,
) -> Best:
    """Train the members of a group and return what was selected of each, on the host.

    Args:
        programs: with a slot for each; slots that are left over repeat the last one.
        config: see `fit_members`.
        members: all of them.
        group: the numbers of those to train.
        longest: steps in an epoch of the member with the most examples.
        show: see `fit_members`.
    """
    settings = config["train"]
    chosen = [members[min(number, group[-1])] for number in range(group[0], group[0] + programs.sizes.slots)]
    period, total = settings["eval_every_epochs"] * longest, settings["epochs"] * longest
    per_epoch = [steps_per_epoch(len(member.train), programs.sizes.batch) for member in chosen]
    per_epoch = jax.device_put(np.array(per_epoch, np.int32), programs.placement.members)
    state, rows_of = _start(programs, config, chosen), _make_rows(programs, chosen)
    validate = _make_validate(programs, chosen)
    kept = _copy(_selectable(state))
    loss, reached = np.full(programs.sizes.slots, np.inf, np.float32), np.zeros(programs.sizes.slots, np.int32)
    pieces = [*_pieces(total, period, settings["steps_per_call"])]
    rows = rows_of(*pieces[0])
    for number, (start, stop) in enumerate(pieces):
        state, log = programs.chunk(state, rows, per_epoch, 0, stop - start)
        if number + 1 < len(pieces):
            rows = rows_of(*pieces[number + 1])  # while the devices are busy
        losses = _losses(log, start, stop, group)
        if stop % period == 0 or stop == total:
            value = validate(*_selectable(state), state.hypers)
            _check_finite("validation loss", value[: len(group), None], stop, group)
            better = (value < loss) | (settings["select"] == "last")
            kept = _replace(kept, _selectable(state), better)
            loss, reached = np.where(better, value, loss), np.where(better, np.int32(stop), reached)
            show(stop, losses.mean(axis=1), value[: len(group)])
    return jax.tree.map(lambda leaf: leaf[: len(group)], Best(*jax.device_get(kept), loss, reached))


def _start(programs: Programs, config: Mapping[str, Any], members: Sequence[Member]) -> TrainState:
    """Return the state before the first step, every leaf [M, ...]."""
    size = programs.sizes.batch
    keys = jnp.stack([stream(member.seed, "model") for member in members])
    hypers = [make_hypers({**config["hypers"], **m.hypers}, steps_per_epoch(len(m.train), size)) for m in members]
    return programs.start(keys, jax.tree.map(lambda *values: np.stack(values), *hypers))


def _make_rows(programs: Programs, members: Sequence[Member]) -> Callable[[int, int], jax.Array]:
    """Return (start, stop) -> the examples of the steps start..stop-1 of every member, on the devices [M,S,B]."""
    orders = [Order(member.seed, len(member.train), programs.sizes.batch) for member in members]
    placement, length = programs.placement, programs.sizes.steps

    @functools.lru_cache(2 * len(members))  # a call may end in the next epoch of a member
    def of_epoch(number: int, epoch: int) -> np.ndarray:
        per_epoch = steps_per_epoch(orders[number].num_examples, programs.sizes.batch)
        return members[number].train[orders[number].rows(epoch * per_epoch, (epoch + 1) * per_epoch)].astype(np.int32)

    def of_member(number: int, start: int, stop: int) -> np.ndarray:
        per_epoch = steps_per_epoch(orders[number].num_examples, programs.sizes.batch)
        first = start // per_epoch
        whole = np.concatenate([of_epoch(number, epoch) for epoch in range(first, (stop - 1) // per_epoch + 1)])
        return whole[start - first * per_epoch : stop - first * per_epoch]

    def rows(start: int, stop: int) -> jax.Array:
        mine = np.stack([of_member(number, start, stop) for number in range(len(members))])
        return jax.device_put(np.pad(mine, ((0, 0), (0, length - (stop - start)), (0, 0))), placement.batches)

    return rows


def _losses(log: Mapping[str, jax.Array], start: int, stop: int, group: range) -> np.ndarray:
    """Return the losses of a group in the steps start..stop-1, [m,S], once they are done.

    Raises:
        Diverged: one of them, or of the gradients, is not finite.
    """
    found = {name: np.asarray(log[name])[: len(group), : stop - start] for name in ("loss", "grad_norm")}
    for name, values in found.items():
        _check_finite(name, values, start, group)
    return found["loss"]


def _make_validate(programs: Programs, members: Sequence[Member]) -> Callable[[Tree, Tree, Hypers], np.ndarray]:
    """Return (params, stats, hypers) -> the mean loss of every member on its held-out examples, [M] float32."""
    counts, size = [len(member.held_out) for member in members], programs.sizes.validation_batch
    width = -(-max(counts) // size) * size
    index = np.stack([np.resize(member.held_out, width) for member in members]).astype(np.int32)  # repeats, to fill up
    rows = [jax.device_put(index[:, i : i + size], programs.placement.members) for i in range(0, width, size)]

    def validate(params: Tree, stats: Tree, hypers: Hypers) -> np.ndarray:
        parts = [programs.losses(params, stats, hypers, row) for row in rows]
        values = np.concatenate([np.asarray(part) for part in parts], axis=1)
        means = [row[:count].mean(dtype=np.float64) for row, count in zip(values, counts, strict=True)]
        return np.array(means, np.float32)

    return validate


def _selectable(state: TrainState) -> tuple[Tree, Tree]:
    """Return the parameters and statistics that may be selected of a state; they are the state's own."""
    return averaged_params(state.opt_state, state.params), state.stats


@jax.jit
def _copy(tree: Tree) -> Tree:
    return jax.tree.map(jnp.copy, tree)


@functools.partial(jax.jit, donate_argnums=0)
def _replace(old: Tree, new: Tree, chosen: jax.Array) -> Tree:
    """Return the new leaves of the chosen members, and the old ones of the others."""
    return jax.tree.map(lambda a, b: jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), b, a), old, new)


def _pieces(total: int, period: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of calls of at most `length` steps that end at every validation."""
    start = 0
    while start < total:
        stop = min(start + length, (start // period + 1) * period, total)
        yield start, stop
        start = stop


def _check_finite(name: str, values: np.ndarray, start: int, group: range) -> None:
    """Raise if one of the values [m,S] of a group, of the steps from `start` on, is not finite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        member, step = bad[np.argmin(bad[:, 1])]
        raise Diverged(
            f"{name} of member {group[member]} is {values[member, step]} at step {start + step}; "
            "lower hypers.learning_rate or set train.clip_norm"
        )
