"""The optimizer as a function of the traced hyperparameters, and the moving average of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vae_jax.build import build
from vae_jax.types import Hypers, Tree

Optimizer = Callable[[Hypers], optax.GradientTransformation]


class EmaState(NamedTuple):
    """State of `track_average`."""

    average: Tree


def make_optimizer(config: Mapping[str, Any], total_steps: int, steps_per_epoch: int) -> Optimizer:
    """Return hypers -> clipping, direction, schedule, rate, average: whichever `config` asks for, in this order.

    It is rebuilt from the hypers inside the step, so that learning rates may differ between members of a sweep.
    """
    direction = build("training.optimizers", config["optimizer"])
    factor = build("training.schedules", config["schedule"])(total_steps, steps_per_epoch)
    clip_norm, decay = config["train"]["clip_norm"], config["train"]["ema_decay"]

    def optimizer(hypers: Hypers) -> optax.GradientTransformation:
        parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
        parts += [direction(hypers), optax.scale_by_schedule(factor), optax.scale(-hypers["learning_rate"])]
        parts += [track_average(decay)] if decay else []
        return optax.chain(*parts)

    return optimizer


def make_hypers(config: Mapping[str, float], steps_per_epoch: int) -> Hypers:
    """Return `config.hypers` as traced scalars; what is counted in epochs is counted in steps from here on."""
    return {
        name.replace("_epochs", "_steps"): jnp.float32(value * steps_per_epoch if name.endswith("_epochs") else value)
        for name, value in config.items()
    }


def track_average(decay: float) -> optax.GradientTransformation:
    """Keep average <- decay * average + (1 - decay) * parameters after each update; it starts at the parameters."""

    def init(params: Tree) -> EmaState:
        return EmaState(jax.tree.map(jnp.copy, params))

    def update(updates: Tree, state: EmaState, params: Tree) -> tuple[Tree, EmaState]:
        new = optax.apply_updates(params, updates)
        return updates, EmaState(optax.incremental_update(new, state.average, 1 - decay))

    return optax.GradientTransformation(init, update)


def averaged_params(opt_state: Tree, params: Tree) -> Tree:
    """Return the parameters to evaluate: the moving average where one is kept, else the parameters themselves."""
    kept = [s for s in jax.tree.leaves(opt_state, is_leaf=lambda s: isinstance(s, EmaState)) if isinstance(s, EmaState)]
    return kept[0].average if kept else params
