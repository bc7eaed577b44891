"""The loop's own judgement: which step was the first to go wrong."""

import numpy as np
import pytest

from vae_jax.training.loop import fault_in_steps

SOUND = np.linspace(3, 2, 6)


def with_nan(*steps):
    return np.where(np.isin(np.arange(6), steps), np.nan, SOUND)


@pytest.mark.parametrize(
    ("loss", "grad_norm", "step", "name"),
    [
        (with_nan(4, 5), with_nan(3, 4, 5), 3, "grad_norm"),  # its gradient made the next loss nan
        (with_nan(3, 4, 5), with_nan(3, 4, 5), 3, "loss"),
        (SOUND, with_nan(5), 5, "grad_norm"),
    ],
)
def test_the_first_of_loss_and_gradient_is_named(loss, grad_norm, step, name):
    fault = fault_in_steps({"loss": loss, "grad_norm": grad_norm}, 100, 10, lambda: 90)
    assert str(fault).startswith(f"{name} is nan at step {100 + step} (epoch {10 + step / 10:.2f}); the last good ")
    assert fault.step == 100 + step and len(fault.metrics["loss"]) == step + 1


def test_sound_steps_are_no_fault():
    assert fault_in_steps({"loss": SOUND, "grad_norm": SOUND}, 0, 10, lambda: None) is None
