"""Matrix products and convolutions of shorter numbers: a transformation of functions, of which models know nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jax.extend.core import ClosedJaxpr, JaxprEqn

_PRODUCTS = {"dot_general", "conv", "conv_to_input", "conv_to_kernel"}
_INLINED = {"jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call"}  # as calls of what they hold


def precision_of(group: Mapping[str, Any]) -> str:
    """Return the precision that `config.train` or `config.evaluate` asks for; fp32 where it is unset."""
    return group.get("precision") or "fp32"


def with_products(precision: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the products of float32 arrays in it computed in the precision.

    'fp32' leaves it as it is. 'bf16' rounds the operands of every product to bfloat16 and adds up in float32, which is
    what matrix units do fast (those of GPUs and TPUs round the sums of a convolution to bfloat16 too); all else,
    parameters, losses and sums among it, stays float32. A product that asks for a precision of its own is left alone.
    Take derivatives before, not after: the function may be `jax.grad` of another, and its products are then those of
    the derivative too.

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
        if name == "dot_general":
            return [_dot(*args, params["dimension_numbers"])]
    results = equation.primitive.bind(*args, **{key: _shorten(value) for key, value in params.items()})
    return results if equation.primitive.multiple_results else [results]


def _dot(a: jax.Array, b: jax.Array, dimensions: Any) -> jax.Array:
    """Return the product of bfloat16 arrays in float32."""
    if jax.default_backend() == "cpu":
        return _dot_on_cpu(a, b, dimensions)
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)


def _dot_on_cpu(a: jax.Array, b: jax.Array, dimensions: Any) -> jax.Array:
    """Return the product, in the form in which XLA's CPU compiler leaves it one of bfloat16.

    It does where the axis summed over is the last of a matrix a and the first of a matrix b, in memory too; others it
    turns into products of float32. So matrices are turned round before. Devices that share a batch would have to
    exchange it for that.
    """
    (of_a, of_b), batch = dimensions
    matrices = a.ndim == b.ndim == 2 and len(of_a) == 1 and batch == ((), ())
    swapped = matrices and of_a == of_b == (0,)  # a gradient of weights, which JAX turns round afterwards
    if swapped:
        a, b, of_a, of_b = b, a, of_b, of_a
    if matrices and _alone():
        a, b = (a if of_a == (1,) else _turned(a)), (b if of_b == (0,) else _turned(b))
        of_a, of_b = (1,), (0,)
    product = jax.lax.dot_general(a, b, ((of_a, of_b), batch), preferred_element_type=jnp.float32)
    # Were it merged with a transposition that follows, a product would come of it that XLA cannot run.
    product = jax.lax.optimization_barrier(product)
    return product.T if swapped else product


def _alone() -> bool:
    """Tell whether no devices share what is traced here: there is one, or each of them does the same for itself."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return jax.device_count() == 1
    return all(size == 1 for axis, size in mesh.shape.items() if axis not in mesh.manual_axes)


def _turned(matrix: jax.Array) -> jax.Array:
    return with_layout_constraint(matrix.T, Layout((0, 1)))


def _shorten(value: Any) -> Any:
    """Replace a program, or the programs of a tuple, that an equation holds: the body of a loop, say."""
    if isinstance(value, tuple):
        return tuple(map(_shorten, value)) if any(isinstance(item, ClosedJaxpr) for item in value) else value
    if not isinstance(value, ClosedJaxpr):
        return value
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in value.in_avals]
    return jax.make_jaxpr(lambda *args: _run(value, args))(*shapes)
