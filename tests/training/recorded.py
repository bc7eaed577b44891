"""Trainings whose rows and checkpoint trees are kept, and that a signal interrupts."""

import jax

from vae_jax.training.loop import Outlet


class Stopping:
    """A signal that arrives in the course of some call; of 0, never."""

    def __init__(self, call=0):
        self.left = call

    @property
    def signal_name(self):
        """The name of the signal, once it is there."""
        self.left -= 1
        return "SIGTERM" if self.left == 0 else None


def recording_outlet():
    """Return an outlet, and what it will have got: rows (step, split, figures), and copies of trees by their steps."""
    rows, saved = [], {}

    def save(step, tree):
        saved[step] = jax.tree.map(lambda leaf: leaf.copy(), tree)

    def nothing(*_):
        pass

    return Outlet(save, nothing, nothing, lambda *row: rows.append(row[:3]), nothing, nothing, ""), rows, saved
