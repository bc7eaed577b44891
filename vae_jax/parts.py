"""From a resolved config and its data to a model, its compiled program and its data on the devices."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.data.dataset import Dataset, picture_bytes
from vae_jax.data.feed import Feed, make_feed, make_spec
from vae_jax.data.order import Order, index_pieces, steps_per_epoch
from vae_jax.data.stream import Pieces, Stream, piece_length
from vae_jax.evaluation.splits import mean, per_example
from vae_jax.evaluation.summary import make_evaluate
from vae_jax.precision import precision_of
from vae_jax.streams import stream
from vae_jax.trained import make_model
from vae_jax.training.loop import Program, best_of
from vae_jax.training.mesh import Placement, check_batch_size, copied_to_this_process, place
from vae_jax.training.optim import Optimizer, make_hypers, make_optimizer
from vae_jax.training.step import Step, init_state, make_chunk, make_step, run_pieces
from vae_jax.types import Hypers, Model, Spec, TrainState, Tree


class Parts(NamedTuple):
    """A run, put together but not started."""

    spec: Spec
    model: Model
    program: Program
    step: Step  # that the program runs, not compiled
    start: Callable[[], Tree]  # the checkpoint tree before the first step
    compile: Callable[[], Any]  # compiles `program.chunk`, which else its first call does; for a thread of its own
    abstract: Tree  # its shapes and shardings
    feeds: Mapping[str, Feed]  # by split
    placement: Placement

    def on_this_process(self, tree: Tree) -> tuple[Parts, Tree]:
        """Return the feeds, in `Parts`, and a checkpoint tree for one process to evaluate. All have to call this."""
        arrays = {name: feed.arrays for name, feed in self.feeds.items()}
        arrays, tree = copied_to_this_process((arrays, tree), self.placement)
        return self._replace(feeds={name: self.feeds[name]._replace(arrays=arrays[name]) for name in arrays}), tree


def put_together(config: Mapping[str, Any], dataset: Dataset) -> Parts:
    """Build model, compiled program and data on the devices for a resolved config."""
    placement = place()
    batch_size = config["train"]["batch_size"]
    check_batch_size(batch_size, placement.num_devices)
    spec = make_spec(dataset, config["data"]["pixels"])
    model = make_model(config, spec)
    per_epoch = steps_per_epoch(dataset.sizes["train"], batch_size)
    optimizer = make_optimizer(config, config["train"]["epochs"] * per_epoch, per_epoch, model.groups)
    hypers = make_hypers(config["hypers"], per_epoch)
    feeds = {name: make_feed(config["data"], dataset, name, placement.put) for name in dataset.splits}
    evaluate = make_evaluate(model, feeds["validation"], precision_of(config["evaluate"]))

    def validate(params, stats, hypers):
        size = min(config["evaluate"]["batch_size"], feeds["validation"].size)
        return mean(per_example(lambda i: evaluate(i, params, stats, hypers), feeds["validation"].size, size))

    start, abstract = _make_start(config, model, optimizer, hypers, placement)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    step, state = make_step(model, optimizer, precision_of(config["train"])), TrainState(**abstract["state"])
    chunk, compile_chunk, close = _make_chunk(config, feeds["train"], dataset, step, state, placement)
    best = jax.jit(best_of, out_shardings=shardings["best"])
    program = Program(chunk, validate, best, per_epoch, close, model.alarm)
    if model.refit:
        refit_at = math.ceil(hypers["pretrain_steps"])
        refit = _make_refit(config, model, feeds["train"], refit_at // per_epoch, shardings["state"]["params"])
        program = program._replace(refit=refit, refit_at=refit_at)
    return Parts(spec, model, program, step, start, compile_chunk, abstract, feeds, placement)


def _make_start(
    config: Mapping[str, Any], model: Model, optimizer: Optimizer, hypers: Hypers, placement: Placement
) -> tuple[Callable[[], Tree], Tree]:
    """Return what makes the checkpoint tree before the first step, and the shapes and shardings of that tree."""

    def begin(key: jax.Array, hypers: Hypers) -> Tree:
        state = init_state(model, optimizer, key, hypers)
        return {"state": state._asdict(), "best": best_of(state, jnp.inf)}

    given = stream(config["seed"], "model"), hypers
    abstract = placement.abstract(jax.eval_shape(begin, *given), bool(config["train"].get("shard_params")))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return functools.partial(jax.jit(begin, out_shardings=shardings), *given), abstract


def _make_refit(
    config: Mapping[str, Any], model: Model, feed: Feed, epoch: int, shardings: Tree
) -> Callable[[TrainState], TrainState]:
    """Return state -> state, its parameters refitted to the codes of the training pictures as `epoch` shows them."""

    @jax.jit
    def encode(arrays, row, params, stats):
        return {"code": model.encode(params, stats, feed.batch(arrays, row, epoch))}

    def refit(state: TrainState) -> TrainState:
        def codes(index: np.ndarray) -> dict[str, jax.Array]:
            return encode(feed.arrays, feed.row(index, np.full_like(index, epoch)), state.params, state.stats)

        found = per_example(codes, feed.size, min(config["evaluate"]["batch_size"], feed.size))["code"]
        params = model.refit(state.params, found, config["seed"])
        return state._replace(params=jax.device_put(params, shardings))

    return refit


def _make_chunk(
    config: Mapping[str, Any], feed: Feed, dataset: Dataset, step: Step, state: TrainState, placement: Placement
) -> tuple[Callable[..., Any], Callable[[], Any], Callable[[], None]]:
    """Return (state, start, stop) -> (state, metrics), what compiles it, and what ends the reading ahead for it.

    It is traced here: what does not go together is refused before anything is written. `state` is of shapes only.
    """
    train, share = config["train"], (jax.process_index(), jax.process_count())
    order = Order(config["data"]["seed"], feed.size, train["batch_size"], share)
    per_epoch = steps_per_epoch(feed.size, train["batch_size"])
    length = train["steps_per_call"]
    pieces, close = index_pieces(order, length, placement.put_steps), lambda: None
    if feed.streamed:
        length = piece_length(train["batch_size"] // share[1] * picture_bytes(dataset), length)
        pieces = Stream(Pieces(feed.row, order, length), placement.put_steps, config["data"]["workers"])
        close = pieces.close

    def batch_of(arrays, row, step):
        return feed.batch(arrays, row, step // per_epoch, training=True)

    def rows_like(one: np.ndarray) -> jax.ShapeDtypeStruct:
        shape = length, train["batch_size"], *one.shape[1:]
        return jax.ShapeDtypeStruct(shape, one.dtype, sharding=placement.steps_of_batches)

    one = np.zeros(1, np.int32)
    rows = jax.tree.map(rows_like, feed.row(one, one))
    outputs = jax.tree.map(lambda leaf: leaf.sharding, state), placement.everywhere
    jitted = jax.jit(make_chunk(step, batch_of), donate_argnums=0, out_shardings=outputs)
    compiled = functools.cache(jitted.lower(state, feed.arrays, rows, 0, length).compile)

    def chunk(state, start, stop):
        return run_pieces(compiled(), state, feed.arrays, pieces(start, stop))

    return chunk, compiled, close
