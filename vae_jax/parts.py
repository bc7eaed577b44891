"""From a resolved config and its data to a model, its compiled program and its data on the devices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from vae_jax.data.dataset import Dataset
from vae_jax.data.feed import arrays, make_batch_of, make_spec
from vae_jax.data.order import batch_indices, steps_per_epoch
from vae_jax.evaluation.splits import mean, per_example
from vae_jax.evaluation.summary import make_evaluate
from vae_jax.streams import stream
from vae_jax.trained import make_model
from vae_jax.training.loop import Program, with_best
from vae_jax.training.mesh import check_batch_size, place
from vae_jax.training.optim import make_hypers, make_optimizer
from vae_jax.training.step import init_state, make_chunk, make_step
from vae_jax.types import Model, Spec, Tree


class Parts(NamedTuple):
    """A run, put together but not started."""

    spec: Spec
    model: Model
    program: Program
    start: Callable[[], Tree]  # the checkpoint tree before the first step
    abstract: Tree  # its shapes and shardings
    batches: Mapping[str, Callable[..., Any]]  # split -> batch_of(arrays, index, epoch)
    arrays: Mapping[str, Tree]  # split -> arrays on the devices


def put_together(config: Mapping[str, Any], dataset: Dataset) -> Parts:
    """Build model, compiled program and data on the devices for a resolved config."""
    placement = place()
    batch_size = config["train"]["batch_size"]
    check_batch_size(batch_size, placement.num_devices)
    spec = make_spec(dataset)
    model = make_model(config, spec)
    per_epoch = steps_per_epoch(dataset.sizes["train"], batch_size)
    optimizer = make_optimizer(config, config["train"]["epochs"] * per_epoch, per_epoch)
    hypers = make_hypers(config["hypers"], per_epoch)
    stored = {name: jax.device_put(arrays(split), placement.everywhere) for name, split in dataset.splits.items()}
    batches = {name: make_batch_of(config["data"], name, dataset.levels) for name in dataset.splits}

    def of_step(source, index, step):
        return batches["train"](source, index, step // per_epoch)

    chunk = jax.jit(
        make_chunk(make_step(model, optimizer), of_step), donate_argnums=0, out_shardings=placement.everywhere
    )
    init = jax.jit(functools.partial(init_state, model, optimizer), out_shardings=placement.everywhere)
    evaluate = make_evaluate(model, batches["validation"])

    def run_chunk(state, indices, num_steps):
        return chunk(state, stored["train"], jax.device_put(indices, placement.steps_of_batches), num_steps)

    def validate(params, stats, hypers):
        size = min(config["evaluate"]["batch_size"], dataset.sizes["validation"])
        one_batch = functools.partial(evaluate, params, stats, hypers, stored["validation"])
        return mean(per_example(one_batch, dataset.sizes["validation"], size))

    def indices(start, stop):
        return batch_indices(config["data"]["seed"], start, stop, dataset.sizes["train"], batch_size)

    def start():
        return with_best(init(stream(config["seed"], "model"), hypers))

    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=placement.everywhere), jax.eval_shape(start)
    )
    program = Program(run_chunk, indices, validate, per_epoch)
    return Parts(spec, model, program, start, abstract, batches, stored)
