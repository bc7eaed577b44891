"""The one place that splits and merges Flax modules: outside `nn/` and `models/`, parameters are plain nested dicts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import nnx

from vae_jax.types import Tree


class Network(NamedTuple):
    """A Flax module as pure functions."""

    init: Callable[[jax.Array], tuple[Tree, Tree]]  # key -> (params, stats)
    merge: Callable[[Tree, Tree], nnx.Module]  # (params, stats) -> module to call, inside one function only
    stats: Callable[[nnx.Module], Tree]  # module -> its statistics after the call (batch norm, codebooks)


def bind(make_module: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Trace the module's construction once and return it as pure functions.

    Args:
        make_module: builds the module from `Rngs`; it must not keep them.
    """
    graph, empty_params, empty_stats = nnx.split(nnx.eval_shape(lambda: make_module(nnx.Rngs(0))), nnx.Param, ...)

    def init(key: jax.Array) -> tuple[Tree, Tree]:
        _, params, stats = nnx.split(make_module(nnx.Rngs(params=key)), nnx.Param, ...)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(stats)

    def merge(params: Tree, stats: Tree) -> nnx.Module:
        states = []
        for empty, values in (empty_params, params), (empty_stats, stats):
            state = copy.copy(jax.tree.map(lambda leaf: leaf, empty))
            nnx.replace_by_pure_dict(state, values)
            states.append(state)
        return nnx.merge(graph, *states)

    def stats_of(module: nnx.Module) -> Tree:
        return nnx.to_pure_dict(nnx.split(module, nnx.Param, ...)[2])

    return Network(init, merge, stats_of)
