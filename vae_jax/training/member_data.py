"""What the members of a group see: their batches in training, and their held-out examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from vae_jax.data.order import Order, steps_per_epoch
from vae_jax.training.member_programs import Programs
from vae_jax.training.optim import averaged_params
from vae_jax.types import TrainState


class Member(NamedTuple):
    """What sets one model apart from the others of its program."""

    seed: int  # of its parameters and its noise
    train: np.ndarray  # [n], its examples of the training split
    held_out: np.ndarray  # [v], its examples of the validation split, which select its parameters
    hypers: Mapping[str, float] = {}  # in place of those of the config
    order_seed: int | None = None  # of the order of its examples, as config.data.seed; None for `seed`

    def order(self, batch_size: int) -> Order:
        """Return the order of its examples, which are numbered 0..n-1 there."""
        return Order(self.seed if self.order_seed is None else self.order_seed, len(self.train), batch_size)


def make_rows(programs: Programs, seats: Sequence[Member | None]) -> Callable[[int, int], jax.Array]:
    """Return (start, stop) -> the examples of the steps start..stop-1 of every member, on the devices [M,S,B].

    An empty seat sees example 0.
    """
    size, length = programs.sizes.batch, programs.sizes.steps
    orders = [member and member.order(size) for member in seats]

    @functools.lru_cache(2 * len(seats))  # a call may end in the next epoch of a member
    def of_epoch(slot: int, epoch: int) -> np.ndarray:
        per_epoch = steps_per_epoch(orders[slot].num_examples, size)
        return seats[slot].train[orders[slot].rows(epoch * per_epoch, (epoch + 1) * per_epoch)].astype(np.int32)

    def of_member(slot: int, start: int, stop: int) -> np.ndarray:
        if seats[slot] is None:
            return np.zeros((stop - start, size), np.int32)
        per_epoch = steps_per_epoch(orders[slot].num_examples, size)
        first = start // per_epoch
        whole = np.concatenate([of_epoch(slot, epoch) for epoch in range(first, (stop - 1) // per_epoch + 1)])
        return whole[start - first * per_epoch : stop - first * per_epoch]

    def rows(start: int, stop: int) -> jax.Array:
        mine = np.stack([of_member(slot, start, stop) for slot in range(len(seats))])
        whole = np.pad(mine, ((0, 0), (0, length - (stop - start)), (0, 0)))
        return jax.device_put(whole, programs.placement.batches)

    return rows


def make_validate(
    programs: Programs, seats: Sequence[Member | None]
) -> Callable[[TrainState, np.ndarray], dict[int, dict[str, float]]]:
    """Return (state, active [M]) -> by slot of those, the mean of each metric over the member's held-out examples."""
    held_out = [np.zeros(1, np.int32) if member is None else member.held_out for member in seats]
    size = programs.sizes.validation_batch
    width = -(-max(map(len, held_out)) // size) * size
    index = np.stack([np.resize(examples, width) for examples in held_out]).astype(np.int32)  # repeats, to fill up
    rows = [jax.device_put(index[:, i : i + size], programs.placement.members) for i in range(0, width, size)]

    def validate(state: TrainState, active: np.ndarray) -> dict[int, dict[str, float]]:
        params = averaged_params(state.opt_state, state.params)
        parts = [programs.evaluate(params, state.stats, state.hypers, row, active) for row in rows]
        values = {name: np.concatenate([np.asarray(part[name]) for part in parts], axis=1) for name in parts[0]}
        return {
            int(slot): {
                name: float(value[slot, : len(held_out[slot])].mean(dtype=np.float64)) for name, value in values.items()
            }
            for slot in np.flatnonzero(active)
        }

    return validate
