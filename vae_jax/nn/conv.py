"""Strided convolution and its transpose for pictures of any size.

On a CPU they are shifted slices and one matmul: XLA's own CPU convolutions are many times slower inside a compiled
loop (jax-ml/jax#12868). On other platforms they are `lax.conv_general_dilated`. Both compute the same.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def output_size(size: int, stride: int) -> int:
    """Return the length of a side after a convolution: ceil(size / stride), whatever the kernel."""
    return -(-size // stride)


def conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve x [N,H,W,I] with kernel [k,k,I,O] under SAME padding: [N,ceil(H/s),ceil(W/s),O]."""
    if jax.default_backend() != "cpu":
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=_DIMENSIONS)
    return _conv_matmul(x, kernel, stride)


def conv_transpose(x: jax.Array, kernel: jax.Array, stride: int, shape: tuple[int, int]) -> jax.Array:
    """Apply the adjoint of `conv` from pictures of `shape` (H, W): x [N,ceil(H/s),ceil(W/s),I] -> [N,H,W,O].

    Args:
        x: the smaller picture.
        kernel: [k,k,O,I], as `conv` would take it in the other direction.
        stride: s.
        shape: the height and width to return, odd ones included.
    """
    large = jax.ShapeDtypeStruct((x.shape[0], *shape, kernel.shape[2]), x.dtype)
    return jax.linear_transpose(lambda y: conv(y, kernel, stride), large)(x)[0]


def _conv_matmul(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size = kernel.shape[0]
    rows, columns = (output_size(n, stride) for n in x.shape[1:3])
    # SAME padding: the smaller half goes before.
    pads = [max((out - 1) * stride + size - n, 0) for out, n in ((rows, x.shape[1]), (columns, x.shape[2]))]
    x = jnp.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
    patches = [
        x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(patches, -1) @ kernel.reshape(-1, kernel.shape[-1])
