"""The optimizer as a function of the traced hyperparameters, and the moving average of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vae_jax.build import build
from vae_jax.types import Hypers, Tree

Optimizer = Callable[[Hypers], optax.GradientTransformation]


class EmaState(NamedTuple):
    """State of `track_average`."""

    average: Tree


def make_optimizer(
    config: Mapping[str, Any], total_steps: int, steps_per_epoch: int, groups: Callable[[Tree], Tree] | None = None
) -> Optimizer:
    """Return hypers -> clipping, direction, schedule, rate, halving, average: what `config` asks for, in this order.

    It is rebuilt from the hypers inside the step, so that learning rates may differ between members of a sweep.

    Args:
        config: the whole of it.
        total_steps: of training.
        steps_per_epoch: what is counted in epochs is so many steps.
        groups: `Model.groups`; the gradients of each group are clipped, and their moments kept, apart.
    """
    direction = build("training.optimizers", config["optimizer"])
    factor = build("training.schedules", config["schedule"])(total_steps, steps_per_epoch)
    clip_norm, patience, decay = (config["train"][name] for name in ("clip_norm", "halve_patience_epochs", "ema_decay"))

    def optimizer(hypers: Hypers) -> optax.GradientTransformation:
        parts = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
        parts += [direction(hypers)]
        if groups:
            parts = [_apart(optax.chain(*parts), groups)]
        parts += [optax.scale_by_schedule(factor), optax.scale(-hypers["learning_rate"])]
        parts += [halve_on_plateau(patience, steps_per_epoch)] if patience else []
        parts += [track_average(decay)] if decay else []
        return optax.chain(*parts)

    return optimizer


def halve_on_plateau(patience: int, window: int) -> optax.GradientTransformationExtraArgs:
    """Halve the updates for good when the mean of `value` over `window` steps has set no new minimum `patience` times.

    The update takes the argument `value`: the figure of this step that is to fall.
    """
    # Optax's relative tolerance would take a figure below 0 that rises a little for a new minimum.
    return optax.contrib.reduce_on_plateau(0.5, patience, rtol=0, atol=1e-30, accumulation_size=window)


def rate_factor(opt_state: Tree) -> dict[str, jax.Array]:
    """Return what halving has left of the learning rate, as a metric; nothing where the rate is not halved."""
    found = _states(opt_state, optax.contrib.ReduceLROnPlateauState)
    return {"rate_factor": found[0].scale} if found else {}


def make_hypers(config: Mapping[str, float], steps_per_epoch: int) -> Hypers:
    """Return `config.hypers` as traced scalars; what is counted in epochs is counted in steps from here on."""
    values = {
        name.replace("_epochs", "_steps"): np.float32(value * steps_per_epoch if name.endswith("_epochs") else value)
        for name, value in config.items()
    }
    return jax.device_put(values)  # not `jnp.float32`, which compiles a program


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
    kept = _states(opt_state, EmaState)
    return kept[0].average if kept else params


def _apart(transformation: optax.GradientTransformation, groups: Callable[[Tree], Tree]) -> Any:
    """Apply the transformation to each group of parameters with a state of its own."""

    def partition(tree: Tree) -> optax.GradientTransformationExtraArgs:
        labels = groups(tree)
        return optax.partition(dict.fromkeys(sorted(set(jax.tree.leaves(labels))), transformation), labels)

    def update(updates: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree]:
        return partition(params).update(updates, state, params)

    return optax.GradientTransformation(lambda params: partition(params).init(params), update)


def _states(opt_state: Tree, kind: type) -> list[Any]:
    """Return the states of a kind of transformation within the state of an optimizer."""
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda state: isinstance(state, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]
