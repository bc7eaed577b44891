"""One training step, and the compiled program that runs many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vae_jax.precision import with_products
from vae_jax.training.optim import Optimizer, rate_factor
from vae_jax.types import Batch, Hypers, Model, TrainState

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def init_state(model: Model, optimizer: Optimizer, key: jax.Array, hypers: Hypers) -> TrainState:
    """Return the state before the first step; a pure function, to be jitted or vmapped over keys and hypers."""
    init_key, train_key = jax.random.split(key)
    params, stats = model.init(init_key)
    return TrainState(jnp.int32(0), params, stats, optimizer(hypers).init(params), train_key, hypers)


def make_step(model: Model, optimizer: Optimizer, precision: str = "fp32", *, axis_name: str | None = None) -> Step:
    """Return step(state, batch) -> (state, scalar metrics).

    Args:
        model: its loss is the mean over the batch.
        optimizer: hypers -> gradient transformation.
        precision: of the products in the loss and its gradient; see `with_products`.
        axis_name: the mapped axis to average over, under `jax.pmap` or `jax.shard_map(check_vma=False)`. Under jit
            with sharded inputs it is None. Statistics are averaged too; for codebooks that is not right, see
            `nn.quantizers`.
    """

    gradient = with_products(precision, jax.grad(model.loss, has_aux=True))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(state.key, state.step)
        grads, (stats, metrics) = gradient(state.params, state.stats, batch, key, state.hypers, state.step)
        if axis_name:
            grads, stats, metrics = jax.lax.pmean((grads, stats, metrics), axis_name)
        descent = optax.with_extra_args_support(optimizer(state.hypers))
        progress = metrics.get("convergence", metrics["loss"])
        updates, opt_state = descent.update(grads, state.opt_state, state.params, value=progress)
        new = state._replace(
            step=state.step + 1, params=optax.apply_updates(state.params, updates), stats=stats, opt_state=opt_state
        )
        return new, metrics | {"grad_norm": optax.tree.norm(grads), **rate_factor(opt_state)}

    return step


def make_chunk(step: Step, batch_of: Callable[[Any, jax.Array, jax.Array], Batch]) -> Callable[..., Any]:
    """Return chunk(state, arrays, rows, begin, end) -> (state, metrics, each [S]).

    `rows` is a tree of arrays [S,B,...], of which the steps begin..end-1 are run. These numbers are traced, so one
    compiled loop serves chunks of any length and every step runs the same machine code: results do not depend on how
    steps are grouped, to the bit.

    Args:
        step: see `make_step`.
        batch_of: (arrays, row, step) -> Batch.
    """

    def chunk(state: TrainState, arrays: Any, rows: Any, begin: jax.Array, end: jax.Array):
        @functools.partial(jax.jit, inline=True)  # traced once for the shapes and the loop
        def run(state: TrainState, i: jax.Array):
            row = jax.tree.map(lambda values: values[i], rows)
            return step(state, batch_of(arrays, row, state.step))

        def body(i, carry):
            state, log = carry
            state, metrics = run(state, i)
            return state, jax.tree.map(lambda column, value: column.at[i].set(value), log, metrics)

        num_rows = len(jax.tree.leaves(rows)[0])
        shapes = jax.eval_shape(run, state, begin)[1]
        log = jax.tree.map(lambda s: jnp.zeros((num_rows, *s.shape), s.dtype), shapes)
        return jax.lax.fori_loop(begin, end, body, (state, log))

    return chunk


def run_pieces(
    chunk: Callable[..., Any], state: TrainState, arrays: Any, pieces: Iterator[tuple[Any, int, int]]
) -> tuple[TrainState, dict[str, np.ndarray]]:
    """Run the steps of some pieces in order and return the state and the metrics, each [steps], on the host.

    Args:
        chunk: see `make_chunk`, compiled.
        state: its buffers are given away.
        arrays: what `chunk` takes.
        pieces: (rows, begin, end); each is asked for while the devices are busy with the one before.
    """
    logs: list[tuple[dict[str, jax.Array], int, int]] = []
    for rows, begin, end in pieces:
        if len(logs) > 1:
            jax.block_until_ready(logs[-2][0])  # lest pieces pile up on devices that are slower than the reading
        state, log = chunk(state, arrays, rows, begin, end)
        logs.append((log, begin, end))
    parts = [{name: np.asarray(values)[begin:end] for name, values in log.items()} for log, begin, end in logs]
    return state, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
