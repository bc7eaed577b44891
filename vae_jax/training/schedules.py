"""The learning rate over time, as a factor of `hypers.learning_rate`. Each public function is a `schedule.name`."""

from __future__ import annotations

from collections.abc import Callable

import jax
import optax


def constant(total_steps: int, steps_per_epoch: int) -> Callable[[jax.Array], jax.Array]:
    """Return step -> 1."""
    del total_steps, steps_per_epoch
    return optax.constant_schedule(1.0)


def warmup_cosine(
    total_steps: int, steps_per_epoch: int, *, warmup_epochs: float = 1.0, final_fraction: float = 0.01
) -> Callable[[jax.Array], jax.Array]:
    """Return a linear rise from 0 to 1, then half a cosine down to `final_fraction` at the last step."""
    warmup = min(round(warmup_epochs * steps_per_epoch), total_steps - 1)
    return optax.warmup_cosine_decay_schedule(0.0 if warmup else 1.0, 1.0, warmup, total_steps, final_fraction)
