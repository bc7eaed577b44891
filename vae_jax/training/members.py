"""Many models of one architecture, trained in one compiled program: the training step under `jax.vmap`.

Members differ in their seed, in the examples they see and in their hyperparameters. What is stacked has M in front.
Under vmap sums are taken in another order, so a member equals its run alone to rounding, not to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.data.feed import Feed
from vae_jax.data.order import Order, steps_per_epoch
from vae_jax.errors import ConfigError, Diverged
from vae_jax.streams import stream
from vae_jax.training.optim import Optimizer, averaged_params, make_hypers, make_optimizer
from vae_jax.training.step import init_state, make_chunk, make_step
from vae_jax.types import Hypers, Model, TrainState, Tree

Show = Callable[[int, np.ndarray, np.ndarray], None]  # (steps done, training loss [M], validation loss [M])


class Member(NamedTuple):
    """What sets one model apart from the others of its program."""

    seed: int  # of its parameters, its noise and the order of its examples
    train: np.ndarray  # [n], its examples of the training split
    held_out: np.ndarray  # [v], its examples of the validation split, which select its parameters
    hypers: Mapping[str, float] = {}  # in place of those of the config


class Best(NamedTuple):
    """The parameters of each member that its held-out examples selected; every leaf is [M, ...]."""

    params: Tree
    stats: Tree
    loss: jax.Array  # [M], on the held-out examples
    step: jax.Array  # [M], when they were reached

    def member(self, number: int) -> tuple[Tree, Tree]:
        """Return the parameters and the statistics of one member."""
        return jax.tree.map(lambda leaf: leaf[number], (self.params, self.stats))


def fit_members(
    model: Model,
    config: Mapping[str, Any],
    feeds: Mapping[str, Feed],
    members: Sequence[Member],
    evaluation_key: jax.Array,
    show: Show = lambda *_: None,
) -> Best:
    """Train all members at once.

    Everyone takes the same number of steps: `train.epochs` times the batches of the largest set of examples. Whoever
    has fewer of them passes over them more often; an epoch of a member, for the noise that is drawn anew in each and
    for the hyperparameters that are counted in epochs, is a pass of its own.

    Args:
        model: the architecture of all.
        config: a resolved config; its seeds and its examples are those of `members` here.
        feeds: train and validation, on the devices.
        members: M of them.
        evaluation_key: of the noise in validation.
        show: is told of every validation.

    Raises:
        ConfigError: a member has fewer examples than a batch, or none held out; or the data are streamed.
        Diverged: the loss or the gradient of a member is not finite; the message has its number.
    """
    settings, size = config["train"], config["train"]["batch_size"]
    _check(feeds, members, size)
    if model.refit:
        raise ConfigError(f"model.name={config['model']['name']!r} is refitted halfway; members are not")
    per_epoch = [steps_per_epoch(len(member.train), size) for member in members]
    period, total = settings["eval_every_epochs"] * max(per_epoch), settings["epochs"] * max(per_epoch)
    optimizer = make_optimizer(config, total, max(per_epoch), model.groups)
    state = _start(model, optimizer, config, members, per_epoch)
    advance = _make_advance(model, optimizer, feeds["train"], members, per_epoch, settings)
    validate = _make_validate(model, feeds["validation"], members, config["evaluate"]["batch_size"], evaluation_key)
    best = _candidate(state, jnp.full(len(members), jnp.inf))
    for start, stop in _pieces(total, period, settings["steps_per_call"]):
        state, losses = advance(state, start, stop)
        if stop % period == 0 or stop == total:
            new = _candidate(state, jnp.inf)
            value = validate(new.params, new.stats, state.hypers)
            _check_finite("validation loss", value[:, None], stop)
            best = _better(best, _candidate(state, jnp.asarray(value)), settings["select"] == "last")
            show(stop, losses.mean(axis=1), value)
    return best


def _start(
    model: Model,
    optimizer: Optimizer,
    config: Mapping[str, Any],
    members: Sequence[Member],
    per_epoch: Sequence[int],
) -> TrainState:
    """Return the state before the first step, every leaf [M, ...]."""
    keys = jnp.stack([stream(member.seed, "model") for member in members])
    hypers = [make_hypers({**config["hypers"], **m.hypers}, n) for m, n in zip(members, per_epoch, strict=True)]
    stacked = jax.tree.map(lambda *values: jnp.stack(values), *hypers)
    return jax.jit(jax.vmap(functools.partial(init_state, model, optimizer)))(keys, stacked)


def _make_advance(
    model: Model,
    optimizer: Optimizer,
    feed: Feed,
    members: Sequence[Member],
    per_epoch: Sequence[int],
    settings: Mapping[str, Any],
) -> Callable[[TrainState, int, int], tuple[TrainState, np.ndarray]]:
    """Return (state, start, stop) -> (state after the steps start..stop-1, their losses [M,S])."""
    orders = [Order(member.seed, len(member.train), settings["batch_size"]) for member in members]
    length = settings["steps_per_call"]

    def batch_of(arrays: Any, row: jax.Array, step: jax.Array):
        stored, steps = arrays
        return feed.batch(stored, row, step // steps, training=True)

    # Of a call: states and numbers of steps in an epoch by member, one data set for all, rows [S,M,B].
    mapped = jax.vmap(make_chunk(make_step(model, optimizer), batch_of), in_axes=(0, (None, 0), 1, None, None))
    chunk, arrays = jax.jit(mapped, donate_argnums=0), (feed.arrays, jnp.array(per_epoch))

    def advance(state: TrainState, start: int, stop: int) -> tuple[TrainState, np.ndarray]:
        mine = [member.train[order.rows(start, stop)] for member, order in zip(members, orders, strict=True)]
        rows = np.pad(np.stack(mine, axis=1), ((0, length - (stop - start)), (0, 0), (0, 0))).astype(np.int32)
        state, log = chunk(state, arrays, rows, 0, stop - start)
        for name in ("loss", "grad_norm"):
            _check_finite(name, np.asarray(log[name])[:, : stop - start], start)
        return state, np.asarray(log["loss"])[:, : stop - start]

    return advance


def _make_validate(
    model: Model, feed: Feed, members: Sequence[Member], size: int, key: jax.Array
) -> Callable[[Tree, Tree, Hypers], np.ndarray]:
    """Return (params, stats, hypers) -> the mean loss of every member on its held-out examples, [M] float32."""
    counts = [len(member.held_out) for member in members]
    size = min(size, max(counts))
    width = -(-max(counts) // size) * size
    index = np.stack([np.resize(member.held_out, width) for member in members]).astype(np.int32)  # repeats, to fill up

    def loss(arrays: Any, row: jax.Array, params: Tree, stats: Tree, hypers: Hypers) -> jax.Array:
        return model.evaluate(params, stats, feed.batch(arrays, row, 0), key, hypers)["loss"]

    run = jax.jit(jax.vmap(loss, in_axes=(None, 0, 0, 0, 0)))

    def validate(params: Tree, stats: Tree, hypers: Hypers) -> np.ndarray:
        parts = [run(feed.arrays, index[:, i : i + size], params, stats, hypers) for i in range(0, width, size)]
        values = np.concatenate([np.asarray(part) for part in parts], axis=1)
        means = [row[:count].mean(dtype=np.float64) for row, count in zip(values, counts, strict=True)]
        return np.array(means, np.float32)

    return validate


def _candidate(state: TrainState, loss: Any) -> Best:
    """Return what would be selected of this state, with the loss that it reaches."""
    params = averaged_params(state.opt_state, state.params)
    return Best(*jax.tree.map(jnp.copy, (params, state.stats, loss, state.step)))


@functools.partial(jax.jit, static_argnums=2)
def _better(old: Best, new: Best, always_new: bool) -> Best:
    """Return for each member the one of lower loss."""
    take = (new.loss < old.loss) | always_new
    return jax.tree.map(lambda a, b: jnp.where(take.reshape(-1, *[1] * (a.ndim - 1)), b, a), old, new)


def _pieces(total: int, period: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of calls of at most `length` steps that end at every validation."""
    start = 0
    while start < total:
        stop = min(start + length, (start // period + 1) * period, total)
        yield start, stop
        start = stop


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


def _check_finite(name: str, values: np.ndarray, start: int) -> None:
    """Raise if one of the values [M,S] of the steps from `start` on is not finite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        member, step = bad[np.argmin(bad[:, 1])]
        raise Diverged(
            f"{name} of member {member} is {values[member, step]} at step {start + step}; lower hypers.learning_rate "
            "or set train.clip_norm"
        )
