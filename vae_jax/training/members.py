"""Many models of one architecture, trained in one compiled program, side by side on the devices there are.

Members differ in their seed, in the examples they see and in their hyperparameters. What is stacked has M in front.
Sums may be taken in another order than in a program for one, so a member equals its run alone to rounding, not to the
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vae_jax.data.feed import Feed
from vae_jax.data.order import steps_per_epoch
from vae_jax.errors import ConfigError
from vae_jax.precision import precision_of
from vae_jax.training.member_group import Best, Member, Show, fit_group
from vae_jax.training.member_mesh import place_members
from vae_jax.training.member_programs import Programs, Sizes, compile_group, free_bytes
from vae_jax.training.optim import make_hypers, make_optimizer
from vae_jax.types import Model


def fit_members(
    model: Model,
    config: Mapping[str, Any],
    feeds: Mapping[str, Feed],
    members: Sequence[Member],
    evaluation_key: jax.Array,
    show: Show = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
    devices: Sequence[jax.Device] | None = None,
    memory_mb: float | None = None,
) -> Best:
    """Train all members at once, or, where memory does not suffice, in groups one after another.

    Everyone takes the same number of steps: `train.epochs` times the batches of the largest set of examples. Whoever
    has fewer of them passes over them more often; an epoch of a member, for the noise that is drawn anew in each and
    for the hyperparameters that are counted in epochs, is a pass of its own.

    Args:
        model: the architecture of all.
        config: a resolved config; its seeds and its examples are those of `members` here.
        feeds: train and validation, on a device.
        members: M of them.
        evaluation_key: of the noise in validation.
        show: is told of every validation, of the members of a group.
        say: is told of groups, if there are several.
        devices: see `place_members`.
        memory_mb: that members may take on each device beside the data, 1 MB = 10^6 bytes; None for what is free.

    Raises:
        ConfigError: a member has fewer examples than a batch, or none held out; or the data are streamed.
        Diverged: the loss or the gradient of a member is not finite; the message has its number.
        MemoryError: there is not enough for one member.
    """
    settings, size = config["train"], config["train"]["batch_size"]
    _check(feeds, members, size)
    if model.refit:
        raise ConfigError(f"model.name={config['model']['name']!r} is refitted halfway; members are not")
    per_epoch = max(steps_per_epoch(len(member.train), size) for member in members)
    optimizer = make_optimizer(config, settings["epochs"] * per_epoch, per_epoch, model.groups)
    hypers = make_hypers({**config["hypers"], **members[0].hypers}, per_epoch)
    precisions = precision_of(settings), precision_of(config["evaluate"])
    held_out = min(config["evaluate"]["batch_size"], max(len(member.held_out) for member in members))

    def compiled(num_members: int) -> Programs:
        placement = place_members(num_members, size, devices)
        sizes = Sizes(placement.slots(num_members), settings["steps_per_call"], size, held_out)
        return compile_group(model, optimizer, precisions, feeds, evaluation_key, hypers, placement, sizes)

    programs, count = _fitting(compiled, len(members), memory_mb, say)
    groups = [range(first, min(first + count, len(members))) for first in range(0, len(members), count)]
    found = [fit_group(programs, config, members, group, per_epoch, show) for group in groups]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


def _fitting(
    compiled: Callable[[int], Programs], num_members: int, memory_mb: float | None, say: Callable[[str], None]
) -> tuple[Programs, int]:
    """Return the programs of the largest groups that there is memory for, of one size, and how many members they have.

    Raises:
        MemoryError: one member is too many.
    """
    count = num_members
    while True:
        programs = compiled(count)
        rows = programs.placement.num_rows
        free = free_bytes(programs.placement) if memory_mb is None else 1e6 * memory_mb
        needed = programs.bytes_once + programs.bytes_each * programs.sizes.slots // rows
        if needed <= free:
            break
        if count == 1:
            raise MemoryError(f"a member needs {needed / 1e6:.3g} MB, and {free / 1e6:.3g} MB are free")
        most = rows * int((free - programs.bytes_once) // programs.bytes_each)
        # Of groups as few as can be, and even ones. Less than a member for each device is one for some of them.
        count = _even(num_members, most) if 0 < most < count else count // 2
    if count < num_members:
        say(
            f"{num_members} members do not fit into {free / 1e6:.3g} MB of a device: trained in "
            f"{-(-num_members // count)} groups of {count}, one after another"
        )
    return programs, count


def _even(total: int, most: int) -> int:
    """Return the size of the fewest groups of at most `most` that hold the total, all of one size but the last."""
    return -(-total // -(-total // most))


def _check(feeds: Mapping[str, Feed], members: Sequence[Member], batch_size: int) -> None:
    if any(feed.streamed for feed in feeds.values()):
        raise ConfigError("members share one data set on the devices, and this one is streamed; raise data.memory_mb")
    for number, member in enumerate(members):
        if len(member.train) < batch_size:
            raise ConfigError(
                f"train.batch_size={batch_size} is more than the {len(member.train)} training examples of member "
                f"{number}"
            )
        if not len(member.held_out):
            raise ConfigError(f"member {number} has no held-out examples to select its parameters by")
