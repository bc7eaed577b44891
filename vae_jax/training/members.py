"""Many models of one architecture, trained in one compiled program, side by side on the devices there are.

Members differ in their seed, in the examples they see and in their hyperparameters. What is stacked has M in front.
Sums may be taken in another order than in a program for one, so a member equals its run alone to rounding, not to the
bit. What is drawn for pixels and corruptions is that of `config.data.seed` for all of them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from vae_jax.data.feed import Feed
from vae_jax.data.order import steps_per_epoch
from vae_jax.errors import ConfigError, Diverged
from vae_jax.precision import precision_of
from vae_jax.training.member_data import Member
from vae_jax.training.member_group import Callbacks, Ended, Plan, fit_group
from vae_jax.training.member_keep import Keep, Kept, agreed_size
from vae_jax.training.member_mesh import place_members
from vae_jax.training.member_programs import Programs, Sizes, compile_group, free_bytes
from vae_jax.training.optim import make_hypers, make_optimizer
from vae_jax.types import Model, Tree


def fit_members(
    model: Model,
    config: Mapping[str, Any],
    feeds: Mapping[str, Feed],
    members: Sequence[Member],
    evaluation_key: jax.Array,
    callbacks: Callbacks,
    keep: Keep | None = None,
    devices: Sequence[jax.Device] | None = None,
    memory_mb: float | None = None,
) -> None:
    """Train all members at once, or, where memory does not suffice, in groups one after another.

    Each ends by itself: after all steps, when its patience is over, when it is asked to, or by diverging; and is handed
    over then. Where half of a group has ended, the others go on in a program for fewer.

    At most everyone takes the same number of steps: `train.epochs` times the batches of the largest set of examples.
    Whoever has fewer of them passes over them more often; an epoch of a member, for the noise that is drawn anew in
    each and for the hyperparameters that are counted in epochs, is a pass of its own. Validations, and the epochs of
    `train.patience_epochs`, are those of the largest set.

    Args:
        model: the architecture of all.
        config: a resolved config; its seeds and its examples are those of `members` here.
        feeds: train and validation, on a device.
        members: M of them.
        evaluation_key: of the noise in validation.
        callbacks: who is told.
        keep: where to save the members in training; the same call then goes on from there, to the bit as if nothing had
            happened, and groups that have ended are not trained again.
        devices: see `place_members`.
        memory_mb: that members may take on each device beside the data, 1 MB = 10^6 bytes; None for what is free.

    Raises:
        ConfigError: a member has fewer examples than a batch, or none held out; the data are streamed; the model is one
            that is refitted; or `keep` is of other members.
        MemoryError: there is not enough for one member.
        Preempted: a signal has arrived; all is saved.
        StorageError: saving failed, or what was saved is damaged.
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

    @functools.lru_cache(1)  # of the sizes that a group shrinks to, the last
    def of_slots(slots: int) -> Programs:
        sizes = Sizes(slots, settings["steps_per_call"], size, held_out)
        placement = place_members(slots, size, devices)
        return compile_group(model, optimizer, precisions, feeds, evaluation_key, hypers, placement, sizes)

    def compiled(count: int) -> Programs:
        return of_slots(place_members(count, size, devices).slots(count))

    def decide() -> int:
        return _fitting(compiled, len(members), memory_mb, callbacks.say)

    plan = Plan(compiled, config, members, per_epoch, model.alarm, callbacks, set())
    count = agreed_size(keep, config, members, decide) if keep else decide()
    for number, first in enumerate(range(0, len(members), count)):
        with Kept(keep, number) if keep else contextlib.nullcontext() as kept:
            if not (kept and kept.finished):
                fit_group(plan, count, range(first, min(first + count, len(members))), kept)


def best_of_members(
    model: Model,
    config: Mapping[str, Any],
    feeds: Mapping[str, Feed],
    members: Sequence[Member],
    evaluation_key: jax.Array,
    callbacks: Callbacks,
    devices: Sequence[jax.Device] | None = None,
    memory_mb: float | None = None,
) -> list[Tree]:
    """Train members as `fit_members` does and return what was selected of each: params, stats, loss and step.

    Raises:
        Diverged: a member has; the message has its number.
        UserError: see `fit_members`.
    """
    found: dict[int, Tree] = {}

    def deliver(number: int, tree: Tree | None, ended: Ended) -> None:
        if tree is None:
            raise Diverged(f"member {number}: {ended.error}")
        found[number] = tree["best"]

    callbacks = callbacks._replace(deliver=deliver)
    fit_members(model, config, feeds, members, evaluation_key, callbacks, None, devices, memory_mb)
    return [found[number] for number in sorted(found)]


def _fitting(
    compiled: Callable[[int], Programs], num_members: int, memory_mb: float | None, say: Callable[[str], None]
) -> int:
    """Return how many members the largest groups have that there is memory for, all of one size.

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
    return count


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
