"""What is done before the first step, and what the state and the best parameters share: nothing."""

import jax
import numpy as np

from tests.processes import python
from tests.variants import load
from vae_jax.data.load import load_dataset
from vae_jax.parts import put_together
from vae_jax.types import TrainState


def digits():
    config = load("digits.py:runlocal")
    return put_together(config, load_dataset(config, None))


def first_step_counting():
    """Print the programs that are compiled up to the end of the first step."""
    names = []

    def note(event, _, fun_name="?", **__):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(note)
    parts = digits()
    state = TrainState(**parts.start()["state"])
    parts.compile()
    parts.program.chunk(state, 0, 1)
    print(len(names), *names)


def test_keys_start_and_steps_are_the_only_programs_before_the_end_of_the_first_step():
    count, *names = python("from tests.test_parts import first_step_counting as count; count()").split()
    assert count == "3", names


def test_the_best_parameters_outlive_the_state_they_are_of():
    parts = digits()
    tree = parts.start()
    for step in 0, 3:
        before = jax.tree.map(np.array, tree["best"])
        state, _ = parts.program.chunk(TrainState(**tree["state"]), step, step + 3)  # whose buffers are given away
        jax.tree.map(np.testing.assert_array_equal, tree["best"], before)
        tree = {"state": state._asdict(), "best": parts.program.best(state, np.float32(0))}
