"""Sums over pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.prob.pixels import sum_softplus


@pytest.mark.parametrize("shape", [(28, 28, 1), (3, 3, 1), (1, 1, 1), (5, 4, 3)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_sum_of_softplus_and_its_slope_in_float64(shape, scale):
    values = scale * np.random.default_rng(0).normal(size=(3, 2, *shape))
    found = sum_softplus(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(found, np.logaddexp(0, values).sum((-3, -2, -1)), rtol=1e-6, atol=1e-6)
    slope = jax.grad(lambda v: sum_softplus(v).sum())(jnp.asarray(values, jnp.float32))
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-values)), rtol=1e-5, atol=1e-7)


def test_sum_of_softplus_is_finite_at_any_logit_and_curved():
    extreme = jnp.array([-1e38, -200.0, 0.0, 200.0, 1e38])[:, None, None, None]
    np.testing.assert_allclose(sum_softplus(extreme), [0, 0, np.log(2), 200, 1e38], rtol=1e-6)
    assert jnp.isfinite(jax.grad(lambda v: sum_softplus(v).sum())(extreme)).all()
    curve = jax.vmap(jax.hessian(lambda v: sum_softplus(v.reshape(1, 1, 1))))(jnp.array([-1.0, 0.0, 2.0]))
    s = 1 / (1 + np.exp(-np.array([-1.0, 0.0, 2.0])))
    np.testing.assert_allclose(curve, s * (1 - s), rtol=1e-5)
