"""The three forms of a convolution as XLA's CPU compiler computes them fast.

It is fast with a plain convolution, of any stride, and with one whose kernel is dilated. Where the input is dilated,
the kernel reversed or the axes permuted, as in the derivatives that JAX takes of `lax.conv_general_dilated`, it is many
times slower inside a compiled loop (jax-ml/jax#12868). So derivatives are written as convolutions of the fast kind,
their operands brought into its layout first.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

_FEW = 4  # channels, below which a convolution is slow


class Geometry(NamedTuple):
    """Of a convolution with SAME padding."""

    shape: tuple[int, int]  # H, W of the input
    size: int  # k, the side of the kernel
    stride: int

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output."""
        return tuple(output_size(n, self.stride) for n in self.shape)

    @property
    def pads(self) -> list[tuple[int, int]]:
        """Padding before and after the input, by axis: the smaller half goes before."""
        totals = (max((o - 1) * self.stride + self.size - n, 0) for n, o in zip(self.shape, self.output, strict=True))
        return [(total // 2, total - total // 2) for total in totals]

    @property
    def blocks(self) -> int:
        """Side of the kernel in blocks of stride x stride."""
        return -(-self.size // self.stride)


def output_size(size: int, stride: int) -> int:
    """Return the length of a side after a convolution: ceil(size / stride), whatever the kernel."""
    return -(-size // stride)


def forward(x: jax.Array, kernel: jax.Array, at: Geometry) -> jax.Array:
    """Return conv(x, kernel): [N,H,W,I], [k,k,I,O] -> [N,h,w,O]."""
    if at.stride > 1 and x.shape[3] < _FEW:
        return _conv(_to_blocks(x, at), _kernel_to_blocks(kernel, at), [(0, 0)] * 2)
    return _conv(x, kernel, at.pads, stride=at.stride)


def to_input(y: jax.Array, kernel: jax.Array, at: Geometry) -> jax.Array:
    """Return x of <x, .> = <y, conv(., kernel)>: [N,h,w,O], [k,k,I,O] -> [N,H,W,I].

    The pixels of a block of stride x stride are channels of a convolution of stride 1 with the kernel turned round.
    """
    blocks, side = _kernel_to_blocks(kernel, at), at.blocks
    if blocks.shape[2] < 2 * _FEW:
        across = jnp.einsum("nhwo,ijco->nhwijc", y, blocks)
        across = jax.lax.optimization_barrier(across)
        shifts = [(i, j) for i in range(side) for j in range(side)]
        pads = [[(0, 0), (i, side - 1 - i), (j, side - 1 - j), (0, 0)] for i, j in shifts]
        found = sum(jnp.pad(across[:, :, :, i, j], pad) for (i, j), pad in zip(shifts, pads, strict=True))
    else:
        found = _conv(y, blocks[::-1, ::-1].transpose(0, 1, 3, 2), [(side - 1, side - 1)] * 2)
    return _from_blocks(found, at)


def to_kernel(x: jax.Array, y: jax.Array, at: Geometry) -> jax.Array:
    """Return kernel of <kernel, .> = <y, conv(x, .)>: [N,H,W,I], [N,h,w,O] -> [k,k,I,O].

    The channels of the input are the examples of a convolution over the pictures, whose kernel is y.
    """
    x, y = jax.lax.optimization_barrier((x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)))
    # Rows beyond the last window, which a stride may leave, would be windows of their own.
    pads = [
        (before, (out - 1) * at.stride + at.size - n - before)
        for (before, _), n, out in zip(at.pads, at.shape, at.output, strict=True)
    ]
    return _conv(x, y, pads, dilation=at.stride).transpose(1, 2, 0, 3)


def _conv(
    x: jax.Array, kernel: jax.Array, pads: list[tuple[int, int]], stride: int = 1, dilation: int = 1
) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _to_blocks(x: jax.Array, at: Geometry) -> jax.Array:
    """Make the padded picture one of blocks: [N,H,W,I] -> [N,h+m-1,w+m-1,s*s*I], m blocks to a kernel's side."""
    rows, columns = (n + at.blocks - 1 for n in at.output)
    pads = [
        (before, max(n * at.stride - size - before, 0))
        for (before, _), n, size in zip(at.pads, (rows, columns), at.shape, strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))[:, : rows * at.stride, : columns * at.stride]
    x = x.reshape(len(x), rows, at.stride, columns, at.stride, -1)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(len(x), rows, columns, -1)


def _from_blocks(x: jax.Array, at: Geometry) -> jax.Array:
    """Return the picture without its padding: [N,h+m-1,w+m-1,s*s*I] -> [N,H,W,I]."""
    number, rows, columns, _ = x.shape
    x = x.reshape(number, rows, columns, at.stride, at.stride, -1).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(number, rows * at.stride, columns * at.stride, -1)
    (top, _), (left, _) = at.pads
    # Pixels that no window reaches are zero.
    beyond = [max(top + at.shape[0] - x.shape[1], 0), max(left + at.shape[1] - x.shape[2], 0)]
    x = jnp.pad(x, ((0, 0), (0, beyond[0]), (0, beyond[1]), (0, 0)))
    return x[:, top : top + at.shape[0], left : left + at.shape[1]]


def _kernel_to_blocks(kernel: jax.Array, at: Geometry) -> jax.Array:
    """[k,k,I,O] -> [m,m,s*s*I,O], zero where the blocks go beyond the kernel."""
    side, (_, _, inputs, outputs) = at.blocks, kernel.shape
    beyond = side * at.stride - at.size
    kernel = jnp.pad(kernel, ((0, beyond), (0, beyond), (0, 0), (0, 0)))
    kernel = kernel.reshape(side, at.stride, side, at.stride, inputs, outputs).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(side, side, -1, outputs)
