"""Spectral normalisation: every matrix of a network divided by its largest singular value."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.nn.bind import bind

_FIRST_STEPS = 30  # of the power iteration, before training


class Direction(nnx.Variable):
    """The running estimate of a leading singular vector, of length 1."""


class SpectralNorm(nnx.Module):
    """A network called with W / |W u| for each kernel W, u the estimate of its leading right singular vector.

    Miyato et al. (2018), algorithm 1: a kernel is read as a matrix with its last axis for columns (those are outputs,
    but of a transposed convolution inputs) and all other axes, the window too, for rows; each training step does one
    step of the power iteration, u <- W^T W u / |W^T W u|, and u is a constant to the gradient, which makes that of |W
    u| the outer product of both singular vectors. Biases are left as they are. Departure: the step follows the use of
    u, so that training and evaluation compute the same, and there are 30 of them at the start.
    """

    def __init__(self, make_module: Callable[[nnx.Rngs], nnx.Module], rngs: nnx.Rngs):
        self.network = nnx.static(bind(make_module))
        params, _ = self.network.init(rngs.params())
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        self.directions = nnx.Dict({})
        for name, matrix in self._matrices().items():
            first = jax.random.normal(rngs.params(), matrix.shape[1:])
            settled = jax.lax.fori_loop(0, _FIRST_STEPS, lambda _, u, w=matrix: _power_step(w, u), first)
            self.directions[name] = Direction(settled)

    def __call__(self, *args: jax.Array) -> jax.Array:
        """Call the network with its kernels normalised."""

        norms = self.norms()
        params = jax.tree_util.tree_map_with_path(lambda path, p: p / norms.get(_name(path), 1.0), self._values())
        return self.network.merge(params, {})(*args)

    def norms(self) -> dict[str, jax.Array]:
        """Return |W u|, which tends to the largest singular value from below, of each kernel by name."""
        return {n: jnp.linalg.norm(w @ self.directions[n][...]) for n, w in self._matrices().items()}

    def iterate(self) -> None:
        """Do one step of the power iteration."""
        for name, matrix in self._matrices().items():
            self.directions[name][...] = _power_step(jax.lax.stop_gradient(matrix), self.directions[name][...])

    def _values(self):
        return jax.tree.map(lambda p: p[...], self.params, is_leaf=lambda leaf: isinstance(leaf, nnx.Param))

    def _matrices(self) -> dict[str, jax.Array]:
        leaves = jax.tree_util.tree_leaves_with_path(self._values())
        return {_name(path): leaf.reshape(-1, leaf.shape[-1]) for path, leaf in leaves if path[-1].key == "kernel"}


def _name(path: tuple) -> str:
    return "/".join(entry.key for entry in path)


def _power_step(matrix: jax.Array, u: jax.Array) -> jax.Array:
    stretched = matrix.T @ (matrix @ u)
    return stretched / jnp.linalg.norm(stretched)
