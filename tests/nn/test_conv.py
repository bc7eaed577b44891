"""The forms of a convolution equal lax.conv and its derivatives, of any order and mapped."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.nn import conv as module
from vae_jax.nn import conv_cpu
from vae_jax.nn.conv import conv, conv_transpose, output_size
from vae_jax.nn.conv_cpu import Geometry

RNG = np.random.default_rng(0)
# Shape, side of the kernel, stride, channels in and out.
CASES = [((28, 20), 3, 2, 5, 4), ((7, 5), 5, 3, 3, 2), ((1, 3), 4, 2, 9, 4), ((8, 7), 1, 2, 5, 3)]
MORE = [((28, 28), 4, 2, 1, 4), ((8, 8), 3, 1, 3, 4), ((9, 9), 2, 2, 2, 4), ((9, 10), 2, 3, 2, 3)]
CASES += [pytest.param(*more, marks=pytest.mark.long) for more in MORE]
case = pytest.mark.parametrize("shape, size, stride, inputs, outputs", CASES)


def arrays(shape, size, stride, inputs, outputs):
    small = (output_size(n, stride) for n in shape)
    shapes = (2, *shape, inputs), (size, size, inputs, outputs), (2, *small, outputs)
    return *(np.float32(RNG.normal(size=shape)) for shape in shapes), Geometry(shape, size, stride)


def close(a, b):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * (np.abs(b).max() + 1))


@case
def test_cpu_forms_equal_those_of_lax(shape, size, stride, inputs, outputs):
    x, kernel, y, at = arrays(shape, size, stride, inputs, outputs)

    @jax.jit
    def forms(x, kernel, y):
        ours = conv_cpu.forward(x, kernel, at), conv_cpu.to_input(y, kernel, at), conv_cpu.to_kernel(x, y, at)
        lax = module._lax_forward(x, kernel, at), module._lax_to_input(y, kernel, at), module._lax_to_kernel(x, y, at)
        return [*zip(ours, lax, strict=True)]

    for ours, theirs in forms(x, kernel, y):
        close(ours, theirs)


@case
def test_transpose_is_the_adjoint_and_returns_the_size_asked_for(shape, size, stride, inputs, outputs):
    x, kernel, y, _ = arrays(shape, size, stride, inputs, outputs)
    run = jax.jit(lambda x, kernel, y: (conv(x, kernel, stride), conv_transpose(y, kernel, stride, shape)))
    small, back = run(x, kernel, y)
    assert small.shape == y.shape and back.shape == x.shape
    np.testing.assert_allclose(np.vdot(small, y), np.vdot(x, back), rtol=1e-3, atol=1e-3)


def both(function):
    """Return function(conv, conv_transpose) with ours and with those of lax."""

    def lax_conv(x, kernel, stride):
        return module._lax_forward(x, kernel, Geometry(x.shape[1:3], len(kernel), stride))

    def lax_transpose(y, kernel, stride, shape):
        return module._lax_to_input(y, kernel, Geometry(shape, len(kernel), stride))

    return function(conv, conv_transpose), function(lax_conv, lax_transpose)


def test_derivatives_of_all_orders_and_modes():
    x, kernel, _, at = arrays((7, 6), 3, 2, 5, 4)

    def value(conv, back):
        def energy(x, kernel):
            return jnp.sum(jnp.tanh(back(jnp.sin(conv(x, kernel, 2)), kernel, 2, at.shape)) ** 2)

        def penalised(x, kernel):
            slopes = jax.grad(energy, argnums=(0, 1))(x, kernel)
            forwards = jax.jvp(lambda x: energy(x, kernel), (x,), (jnp.ones_like(x),))[1]
            return sum(jnp.sum(s**2) for s in slopes) + forwards

        return jax.tree.leaves(jax.jit(jax.grad(penalised, argnums=(0, 1)))(0.1 * x, 0.1 * kernel))

    for ours, theirs in zip(*both(value), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_mapped_over_members_once_and_twice(axes):
    x, kernel, y, at = arrays((7, 6), 3, 2, 5, 4)
    xs, kernels, ys = (np.stack([v, 2 * v, v + 1]) for v in (x, kernel, y))
    take = [(xs, kernels) if axes == (0, 0) else (xs, kernel) if axes[0] == 0 else (x, kernels)][0]
    take_back = [(ys, kernels) if axes == (0, 0) else (ys, kernel) if axes[0] == 0 else (y, kernels)][0]

    def value(conv, back):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(conv(x, kernel, 2)))

        mapped = jax.vmap(jax.grad(loss, argnums=(0, 1)), axes)
        twice = jax.vmap(jax.vmap(functools.partial(conv, stride=2), axes), (None, 0))
        apart = (take[0], np.stack([take[1], -take[1]]))
        backwards = jax.vmap(functools.partial(back, stride=2, shape=at.shape), axes)
        outside = jax.grad(lambda k: jax.vmap(loss, axes)(take[0], k).sum())
        return jax.jit(lambda: [*mapped(*take), twice(*apart), backwards(*take_back), outside(take[1])])()

    for ours, theirs in zip(*both(value), strict=True):
        close(ours, theirs)


def test_short_operands_give_float32():
    x, kernel, _, at = arrays((7, 6), 3, 2, 5, 4)
    short = [v.astype(jnp.bfloat16) for v in (x, kernel)]
    found = jax.jit(lambda x, k: module._FORWARD.bind(x, k, geometry=at, mapped=False))(*short)
    assert found.dtype == jnp.float32
    close(found, module._lax_forward(*(v.astype(jnp.float32) for v in short), at))
