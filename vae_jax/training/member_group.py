"""Training of a group of members: each ends by itself, and those that are left are brought together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from vae_jax.data.order import steps_per_epoch
from vae_jax.errors import Diverged
from vae_jax.training.loop import fault_in_steps, fault_in_validation, impatient, next_stop
from vae_jax.training.member_data import Member, make_rows, make_validate
from vae_jax.training.member_keep import Kept
from vae_jax.training.member_programs import Programs
from vae_jax.training.member_slots import EMPTY, FINISHED, PATIENCE, REQUEST, RUNNING, Group, begin, seated, taken
from vae_jax.types import TrainState, Tree


class Ended(NamedTuple):
    """Why the training of a member is over."""

    why: Literal["finished", "patience", "request", "diverged"]
    error: Diverged | None = None  # of one that diverged: what its run alone would raise


_WHY = {FINISHED: Ended("finished"), PATIENCE: Ended("patience"), REQUEST: Ended("request")}


def _nothing(*_: Any) -> None:
    pass


class Callbacks(NamedTuple):
    """Who is told of members, which go by their numbers."""

    begin: Callable[[int, int], None] = _nothing
    """(member, step), before all else of a member: it goes on there, and rows of later steps will come once more. One
    that was delivered before the call was resumed may be begun and delivered again, the same to the bit, or neither."""
    write: Callable[[int, str, Mapping[int, dict[str, float]]], None] = _nothing
    """(steps done, 'train' or 'validation', metrics by member): what its run alone would log then"""
    stop: Callable[[int], bool] = lambda _: False
    """(member) -> whether it is to end, asked after each validation"""
    deliver: Callable[[int, Tree | None, Ended], None] = _nothing
    """(member, the checkpoint tree of its run alone, on the host, why it has ended); the tree of one that diverged is
    None. What is to outlast the process must be on disk when this returns."""
    say: Callable[[str], None] = _nothing
    """(a line of progress or warning)"""


class Plan(NamedTuple):
    """What groups have in common."""

    compiled: Callable[[int], Programs]  # for at least so many members
    config: Mapping[str, Any]
    members: Sequence[Member]
    longest: int  # steps in an epoch of the member with the most examples
    alarm: Callable[[Mapping[str, float]], str | None] | None  # as `Model.alarm`
    callbacks: Callbacks
    warned: set[int]  # members that an alarm was raised for

    @property
    def total(self) -> int:
        """Steps of training."""
        return self.config["train"]["epochs"] * self.longest


def fit_group(plan: Plan, count: int, numbers: range, kept: Kept | None) -> None:
    """Train the members of these numbers, from where they have been kept, until the last one has ended.

    Args:
        plan: see `Plan`.
        count: members that groups have, of which this may be the last and smaller one.
        numbers: of its members.
        kept: the checkpoints of the group, if it is to have any.

    Raises:
        Preempted: a signal has arrived; the group is saved.
    """
    group = kept and kept.restore(plan.compiled, plan.callbacks.say)
    if group is None:
        programs = plan.compiled(count)
        if 2 * len(numbers) <= programs.sizes.slots:
            programs = plan.compiled(len(numbers))
        group = begin(programs, plan.config, plan.members, numbers)
        del programs
    for slot in np.flatnonzero(group.status != EMPTY):
        plan.callbacks.begin(int(group.number[slot]), group.step)
    group = _delivered(plan, group, kept)
    while group.running.any():
        slots, running = len(group.status), int(group.running.sum())
        programs = plan.compiled(running if 2 * running <= slots else slots)
        if programs.sizes.slots != slots:
            group = seated(group, programs)
        group = _train(plan, programs, group, kept)
        del programs  # lest the next ones are compiled beside them
    if kept:
        kept.finish(group.step)


def _train(plan: Plan, programs: Programs, group: Group, kept: Kept | None) -> Group:
    """Train until half of the slots or more are idle."""
    settings, placement = plan.config["train"], programs.placement
    seats = [plan.members[n] if running else None for n, running in zip(group.number, group.running, strict=True)]
    per_epoch = [steps_per_epoch(len(member.train), programs.sizes.batch) if member else 1 for member in seats]
    per_epoch = jax.device_put(np.array(per_epoch, np.int32), placement.members)
    rows_of, validate = make_rows(programs, seats), make_validate(programs, seats)
    start, rows = group.step, None
    while 2 * group.running.sum() > len(seats):
        stop = next_stop(start, plan.total, plan.longest, 0, settings)
        rows = rows_of(start, stop) if rows is None else rows
        active = jax.device_put(group.running, placement.members)
        state = TrainState(**group.tree["state"])
        state, log = programs.chunk(state, rows, per_epoch, active, stop - start)
        group = group._replace(step=stop, tree={"state": state._asdict(), "best": group.tree["best"]})
        if stop < plan.total:
            rows = rows_of(stop, next_stop(stop, plan.total, plan.longest, 0, settings))  # while the devices are busy
        group = _logged(plan, group, log, start)
        if stop % (settings["eval_every_epochs"] * plan.longest) == 0 or stop == plan.total:
            group = _judged(plan, _selected(plan, programs, group, validate))
            if kept and (group.status == REQUEST).any():
                kept.save(group, wait=True)  # once more it might be asked at another step
            group = _delivered(plan, group, kept)
        if kept and group.running.any():
            kept.save_if_due(group, plan.total)
        start = stop
    return group


def _logged(plan: Plan, group: Group, log: Mapping[str, jax.Array], start: int) -> Group:
    """Write what was measured in the steps from `start` on, and end those who diverged there."""
    found, rows, faults = {name: np.asarray(values) for name, values in log.items()}, {}, {}
    for slot in np.flatnonzero(group.running):
        number = int(group.number[slot])
        mine = {name: values[slot, : group.step - start] for name, values in found.items()}
        per_epoch = steps_per_epoch(len(plan.members[number].train), plan.config["train"]["batch_size"])
        if fault := fault_in_steps(mine, start, per_epoch, lambda: None):
            faults[slot] = fault
        else:
            rows[number] = {name: float(values.mean(dtype=np.float64)) for name, values in mine.items()}
    _write(plan, group.step, "train", rows)
    for number in rows.keys() - plan.warned if plan.alarm else ():
        if warning := plan.alarm(rows[number]):
            plan.callbacks.say(f"warning, member {number}, step {group.step}: {warning}")
            plan.warned.add(number)
    return _diverged(plan, group, faults)


def _selected(plan: Plan, programs: Programs, group: Group, validate: Callable[..., Any]) -> Group:
    """Validate, write what comes of it, keep what is better than before, and end those who diverged."""
    state, best = TrainState(**group.tree["state"]), group.tree["best"]
    rows, faults, loss = {}, {}, np.full(len(group.status), np.inf, np.float32)
    for slot, value in validate(state, group.running).items():
        if fault := fault_in_validation(value, group.step):
            faults[slot] = fault
        else:
            rows[int(group.number[slot])], loss[slot] = value, value["loss"]
    chosen = (loss < np.asarray(best["loss"])) | (np.isfinite(loss) & (plan.config["train"]["select"] == "last"))
    put = [jax.device_put(values, programs.placement.members) for values in (loss, chosen)]
    group = group._replace(tree={"state": group.tree["state"], "best": programs.select(best, state, *put)})
    _write(plan, group.step, "validation", rows)
    return _diverged(plan, group, faults)


def _judged(plan: Plan, group: Group) -> Group:
    """Mark those who have ended with a validation."""
    status, best_step = group.status.copy(), np.asarray(group.tree["best"]["step"])
    for slot in np.flatnonzero(group.running):
        if group.step == plan.total:
            status[slot] = FINISHED
        elif impatient(group.step, int(best_step[slot]), plan.config["train"], plan.longest):
            status[slot] = PATIENCE
        elif plan.callbacks.stop(int(group.number[slot])):
            status[slot] = REQUEST
    return group._replace(status=status)


def _delivered(plan: Plan, group: Group, kept: Kept | None) -> Group:
    """Hand over those who have ended, and empty their slots."""
    for slot in np.flatnonzero(group.status > RUNNING):
        if kept:
            kept.save_if_asked(group, plan.total)  # whoever takes them may take long
        plan.callbacks.deliver(int(group.number[slot]), taken(group.tree, slot), _WHY[int(group.status[slot])])
        status = group.status.copy()
        status[slot] = EMPTY
        group = group._replace(status=status)
    return group


def _diverged(plan: Plan, group: Group, faults: Mapping[int, Diverged]) -> Group:
    status = group.status.copy()
    for slot, fault in faults.items():
        status[slot] = EMPTY
        plan.callbacks.deliver(int(group.number[slot]), None, Ended("diverged", fault))
    return group._replace(status=status)


def _write(plan: Plan, step: int, split: str, rows: Mapping[int, dict[str, float]]) -> None:
    if rows:
        plan.callbacks.write(step, split, rows)
