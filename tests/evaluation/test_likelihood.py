"""Importance weighting: exactly k samples are decoded, in chunks that need not divide k, to the right number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from vae_jax.evaluation.likelihood import active_units, neg_log_likelihood
from vae_jax.types import Model


def stub(counted):
    """A model whose log weights are functions of the key alone; it counts the samples it is asked for."""

    def log_weights(params, stats, batch, key, k):
        del params, stats
        jax.debug.callback(lambda: counted.append(k), ordered=True)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
        return jax.vmap(lambda key: 3 * jax.random.normal(key, (k,)), out_axes=1)(keys) - 50

    return Model(None, None, None, log_weights, None, None, None)


@pytest.mark.parametrize("k, chunk", [(1, 10), (10, 10), (23, 10), (7, 3), (5000, 999)])
def test_decodes_exactly_k_samples(k, chunk):
    counted = []
    neg_log_likelihood(stub(counted), {}, {}, {"index": jnp.arange(3)}, jax.random.key(0), k, chunk)
    jax.effects_barrier()
    assert sum(counted) == k
    assert max(counted) <= chunk


def test_is_the_log_mean_exp_of_all_weights():
    model, index, key = stub([]), {"index": jnp.arange(3)}, jax.random.key(0)
    value = neg_log_likelihood(model, {}, {}, index, key, 23, 10)
    sizes = [10, 10, 3]
    parts = [model.log_weights({}, {}, index, jax.random.fold_in(key, i), size) for i, size in enumerate(sizes)]
    expected = np.log(23) - scipy.special.logsumexp(np.concatenate(parts), axis=0)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_finite_where_weights_underflow():
    model = Model(None, None, None, lambda *args: jnp.full((args[-1], 2), -1e6), None, None, None)
    value = neg_log_likelihood(model, {}, {}, {"index": jnp.arange(2)}, jax.random.key(0), 8, 4)
    np.testing.assert_allclose(value, 1e6, rtol=1e-6)


def test_active_units_counts_what_varies():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(1000, 3)) * np.array([1.0, 0.05, 0.2]) + 7
    assert active_units(codes) == 2
