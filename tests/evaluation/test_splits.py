"""Averages count every example once, whatever the batch size."""

import numpy as np
import pytest

from vae_jax.evaluation.splits import mean, per_example, standard_error


@pytest.mark.parametrize("batch_size", [1, 7, 128, 300])
def test_every_example_once_and_in_order(batch_size):
    sizes = set()

    def function(index):
        sizes.add(len(index))
        assert index.max() < 300
        return {"value": index.astype(float) ** 2, "row": np.stack([index, -index], 1)}

    values = per_example(function, 300, batch_size)
    np.testing.assert_array_equal(values["value"], np.arange(300.0) ** 2)
    assert values["row"].shape == (300, 2)
    assert sizes == {batch_size}  # one compiled program
    assert mean({"value": values["value"]})["value"] == pytest.approx(np.mean(np.arange(300.0) ** 2))


def test_standard_error():
    values = np.random.default_rng(0).normal(size=500)
    assert standard_error(values) == pytest.approx(values.std(ddof=1) / 500**0.5)
    assert standard_error(values[:1]) == 0
