"""Convolution as a matmul equals lax.conv, forward and backward; the transpose is its adjoint at any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.nn import conv as module
from vae_jax.nn.conv import conv, conv_transpose, output_size

CASES = [((28, 28), 4, 2), ((28, 20), 3, 2), ((7, 5), 5, 3), ((8, 8), 3, 1), ((1, 3), 4, 2), ((9, 9), 2, 2)]


def arrays(shape, kernel):
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], (2, *shape, 3)), jax.random.normal(keys[1], (kernel, kernel, 3, 4))


@pytest.mark.parametrize("shape, kernel, stride", CASES)
def test_matmul_form_equals_lax_conv_forward_and_backward(shape, kernel, stride):
    def lax_conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=module._DIMENSIONS)

    x, w = arrays(shape, kernel)
    ours, pull = jax.vjp(lambda x, w: module._conv_matmul(x, w, stride), x, w)
    theirs, pull_theirs = jax.vjp(lax_conv, x, w)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    for a, b in zip(pull(theirs), pull_theirs(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape, kernel, stride", CASES)
def test_transpose_is_the_adjoint_and_returns_the_size_asked_for(shape, kernel, stride):
    x, w = arrays(shape, kernel)
    small = conv(x, w, stride)
    assert small.shape[1:3] == tuple(output_size(n, stride) for n in shape)
    y = jax.random.normal(jax.random.key(3), small.shape)
    back = conv_transpose(y, w, stride, shape)
    assert back.shape == x.shape
    np.testing.assert_allclose(jnp.vdot(small, y), jnp.vdot(x, back), rtol=1e-3)
