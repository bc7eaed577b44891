"""One training step, and the compiled program that runs many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vae_jax.training.optim import Optimizer
from vae_jax.types import Batch, Hypers, Model, TrainState

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def init_state(model: Model, optimizer: Optimizer, key: jax.Array, hypers: Hypers) -> TrainState:
    """Return the state before the first step; a pure function, to be jitted or vmapped over keys and hypers."""
    init_key, train_key = jax.random.split(key)
    params, stats = model.init(init_key)
    return TrainState(jnp.int32(0), params, stats, optimizer(hypers).init(params), train_key, hypers)


def make_step(model: Model, optimizer: Optimizer, *, axis_name: str | None = None) -> Step:
    """Return step(state, batch) -> (state, scalar metrics).

    Args:
        model: its loss is the mean over the batch.
        optimizer: hypers -> gradient transformation.
        axis_name: the mapped axis to average over, under `jax.pmap` or `jax.shard_map(check_vma=False)`. Under jit
            with sharded inputs it is None.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(state.key, state.step)
        gradient = jax.grad(model.loss, has_aux=True)
        grads, (stats, metrics) = gradient(state.params, state.stats, batch, key, state.hypers, state.step)
        if axis_name:
            grads, stats, metrics = jax.lax.pmean((grads, stats, metrics), axis_name)
        updates, opt_state = optimizer(state.hypers).update(grads, state.opt_state, state.params)
        new = state._replace(
            step=state.step + 1, params=optax.apply_updates(state.params, updates), stats=stats, opt_state=opt_state
        )
        return new, metrics | {"grad_norm": optax.tree.norm(grads)}

    return step


def make_chunk(step: Step, batch_of: Callable[[Any, jax.Array, jax.Array], Batch]) -> Callable[..., Any]:
    """Return chunk(state, arrays, indices [S,B], num_steps) -> (state, metrics, each [S]).

    Only the first `num_steps` rows are run. The number is traced, so one compiled loop serves chunks of any length and
    every step runs the same machine code: results do not depend on how steps are grouped, to the bit.

    Args:
        step: see `make_step`.
        batch_of: (arrays, index [B], step) -> Batch.
    """

    def chunk(state: TrainState, arrays: Any, indices: jax.Array, num_steps: jax.Array):
        def run(state: TrainState, index: jax.Array):
            return step(state, batch_of(arrays, index, state.step))

        def body(i, carry):
            state, rows = carry
            state, metrics = run(state, indices[i])
            return state, jax.tree.map(lambda row, value: row.at[i].set(value), rows, metrics)

        shapes = jax.eval_shape(run, state, indices[0])[1]
        rows = jax.tree.map(lambda s: jnp.zeros((len(indices), *s.shape), s.dtype), shapes)
        return jax.lax.fori_loop(0, num_steps, body, (state, rows))

    return chunk
