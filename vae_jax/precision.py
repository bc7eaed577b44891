"""Matrix products and convolutions of shorter numbers: a transformation of functions, of which models know nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn

_PRODUCTS = {"dot_general", "conv", "conv_to_input", "conv_to_kernel"}
_INLINED = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call"}  # as calls of what they hold


def with_products(precision: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the products of float32 arrays in it computed in the precision.

    'fp32' leaves it as it is. 'bf16' rounds the operands of every product to bfloat16 and adds up in float32, which is
    what matrix units do fast; all else, parameters, losses and sums among it, stays float32. A product that
    asks for a precision of its own is left alone. Take derivatives before, not after: the function may be
    `jax.grad` of another, and its products are then those of the derivative too.

    Args:
        precision: fp32 or bf16.
        function: of trees of arrays, to a tree of arrays.
    """
    if precision == "fp32":
        return function

    @functools.wraps(function)
    def shorter(*args: Any) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        return jax.tree.unflatten(jax.tree.structure(shapes), _run(program, jax.tree.leaves(args)))

    return shorter


def _run(program: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    """Run a program on its arguments, its products in bfloat16."""
    values = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    values |= zip(program.jaxpr.invars, args, strict=True)

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else values[atom]

    for equation in program.jaxpr.eqns:
        results = _apply(equation, [read(atom) for atom in equation.invars])
        values |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in program.jaxpr.outvars]


def _apply(equation: JaxprEqn, args: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _INLINED:
        return _run(next(value for value in params.values() if isinstance(value, ClosedJaxpr)), args)
    if name in _PRODUCTS and params.get("precision") is None and all(a.dtype == jnp.float32 for a in args):
        args = [jnp.asarray(a, jnp.bfloat16) for a in args]
        params = params | ({"preferred_element_type": jnp.float32} if name == "dot_general" else {})
    results = equation.primitive.bind(*args, **{key: _shorten(value) for key, value in params.items()})
    return results if equation.primitive.multiple_results else [results]


def _shorten(value: Any) -> Any:
    """Replace a program, or the programs of a tuple, that an equation holds: the body of a loop, say."""
    if isinstance(value, tuple):
        return tuple(map(_shorten, value)) if any(isinstance(item, ClosedJaxpr) for item in value) else value
    if not isinstance(value, ClosedJaxpr):
        return value
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in value.in_avals]
    return jax.make_jaxpr(lambda *args: _run(value, args))(*shapes)
