"""Strided convolution and its transpose for pictures of any size.

The form <y, conv(x, kernel)> is linear in x [N,H,W,I], kernel [k,k,I,O] and y [N,h,w,O]. What is left of it without
one of them is a primitive: `conv` without y, its transpose without x, the gradient of the kernel without the kernel.
Each derivative of one is another of them, so that a platform has to compute these three well and no more:
`conv_cpu` says how a CPU does it, elsewhere they are `lax.conv_general_dilated` as JAX differentiates it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from vae_jax.nn import conv_cpu
from vae_jax.nn.conv_cpu import Geometry, output_size

__all__ = ["conv", "conv_transpose", "output_size"]

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


@functools.partial(jax.jit, static_argnames="stride")
def conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve x [N,H,W,I] with kernel [k,k,I,O] under SAME padding: [N,ceil(H/s),ceil(W/s),O]."""
    return _FORWARD.bind(x, kernel, geometry=Geometry(x.shape[1:3], len(kernel), stride), mapped=False)


@functools.partial(jax.jit, static_argnames=("stride", "shape"))
def conv_transpose(x: jax.Array, kernel: jax.Array, stride: int, shape: tuple[int, int]) -> jax.Array:
    """Apply the adjoint of `conv` from pictures of `shape` (H, W): x [N,ceil(H/s),ceil(W/s),I] -> [N,H,W,O].

    Args:
        x: the smaller picture.
        kernel: [k,k,O,I], as `conv` would take it in the other direction.
        stride: s.
        shape: the height and width to return, odd ones included.
    """
    return _TO_INPUT.bind(x, kernel, geometry=Geometry(shape, len(kernel), stride), mapped=False)


def _lax_forward(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    strides = (geometry.stride, geometry.stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=_DIMENSIONS)


def _lax_to_input(y: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    x = jax.ShapeDtypeStruct((len(y), *geometry.shape, kernel.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: _lax_forward(x, kernel, geometry), x)(y)[0]


def _lax_to_kernel(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    kernel = jax.ShapeDtypeStruct((geometry.size, geometry.size, x.shape[3], y.shape[3]), y.dtype)
    return jax.linear_transpose(lambda kernel: _lax_forward(x, kernel, geometry), kernel)(y)[0]


def _primitive(name: str, shape: Callable[..., tuple[int, ...]], on_cpu: Any, elsewhere: Any) -> Primitive:
    """Return a primitive (a, b; geometry, mapped) -> array, of operands of one type, float32 where they are shorter.

    Args:
        name: of it.
        shape: (a, b, geometry) -> that of the result, of operands that are not mapped.
        on_cpu: (a, b, geometry) -> result.
        elsewhere: the same on other platforms.
    """
    primitive = Primitive(name)

    def dtype(a):
        return jnp.promote_types(a.dtype, jnp.float32)

    @primitive.def_abstract_eval
    def abstract(a, b, *, geometry, mapped):
        first, second = (jax.ShapeDtypeStruct(v.shape[1:] if mapped else v.shape, v.dtype) for v in (a, b))
        return jax.core.ShapedArray((*a.shape[:mapped], *shape(first, second, geometry)), dtype(a))

    def lower_cpu(a, b, *, geometry, mapped):
        a, b = a.astype(dtype(a)), b.astype(dtype(b))  # a CPU has no faster convolutions of shorter numbers
        # One member after another: a convolution of grouped channels is many times slower.
        return jax.lax.map(lambda ab: on_cpu(*ab, geometry), (a, b)) if mapped else on_cpu(a, b, geometry)

    def lower(a, b, *, geometry, mapped):
        compute = functools.partial(elsewhere, geometry=geometry)
        return (jax.vmap(compute) if mapped else compute)(a, b).astype(dtype(a))

    mlir.register_lowering(primitive, mlir.lower_fun(lower_cpu, multiple_results=False), platform="cpu")
    mlir.register_lowering(primitive, mlir.lower_fun(lower, multiple_results=False))
    batching.primitive_batchers[primitive] = functools.partial(_batch, primitive)
    return primitive


def _batch(primitive: Primitive, args: Any, axes: Any, *, geometry: Geometry, mapped: bool) -> tuple[jax.Array, int]:
    """Move what is mapped to the front: into the pictures where all share a kernel, else before both operands."""
    size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
    a, b = (arg if axis is None else jnp.moveaxis(arg, axis, 0) for arg, axis in zip(args, axes, strict=True))
    if axes[1] is None and not mapped and primitive is not _TO_KERNEL:
        result = primitive.bind(a.reshape(-1, *a.shape[2:]), b, geometry=geometry, mapped=False)
        return result.reshape(size, -1, *result.shape[1:]), 0
    a, b = (
        v if axis is not None else jnp.broadcast_to(v, (size, *v.shape)) for v, axis in zip((a, b), axes, strict=True)
    )
    if not mapped:
        return primitive.bind(a, b, geometry=geometry, mapped=True), 0
    flat = primitive.bind(*(v.reshape(-1, *v.shape[2:]) for v in (a, b)), geometry=geometry, mapped=True)
    return flat.reshape(size, -1, *flat.shape[1:]), 0


_FORWARD = _primitive(
    "conv", lambda x, kernel, at: (x.shape[0], *at.output, kernel.shape[3]), conv_cpu.forward, _lax_forward
)
_TO_INPUT = _primitive(
    "conv_to_input", lambda y, kernel, at: (y.shape[0], *at.shape, kernel.shape[2]), conv_cpu.to_input, _lax_to_input
)
_TO_KERNEL = _primitive(
    "conv_to_kernel", lambda x, y, at: (at.size, at.size, x.shape[3], y.shape[3]), conv_cpu.to_kernel, _lax_to_kernel
)

# The derivative of each by either operand is one of the other two.
ad.defbilinear(
    _FORWARD,
    lambda y, _x, kernel, **how: _TO_INPUT.bind(y, kernel, **how),
    lambda y, x, _kernel, **how: _TO_KERNEL.bind(x, y, **how),
)
ad.defbilinear(
    _TO_INPUT,
    lambda x, _y, kernel, **how: _FORWARD.bind(x, kernel, **how),
    lambda x, y, _kernel, **how: _TO_KERNEL.bind(x, y, **how),
)
ad.defbilinear(
    _TO_KERNEL,
    lambda kernel, _x, y, **how: _TO_INPUT.bind(y, kernel, **how),
    lambda kernel, x, _y, **how: _FORWARD.bind(x, kernel, **how),
)
