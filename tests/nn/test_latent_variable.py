"""What a likelihood fits follows the training batches, slowly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_conformance import KEY, SHAPE, batch_of, built


def test_the_fitted_variance_moves_a_hundredth_of_the_way_to_that_of_the_batch():
    _, model, hypers, params, stats = built("zoo_likelihoods.py:variant=gaussian_optimal")
    _, (moved, metrics) = jax.jit(model.loss)(params, stats, batch_of(range(7)), KEY, hypers, jnp.float32(0))
    variance, size = 0.1, np.prod(SHAPE)
    assert stats["fitted"]["variance"] == pytest.approx(variance)
    # -log p(x|z) = size / 2 (log(2 pi variance) + error / variance) with the variance of before the step.
    error = variance * (2 * float(metrics["distortion_nats"]) / size - np.log(2 * np.pi * variance))
    assert error > 0.15
    assert float(moved["fitted"]["variance"]) == pytest.approx(0.99 * variance + 0.01 * error, rel=1e-4)
