"""The fingerprint of a tree tells every leaf, and the order of its values."""

import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.training.fingerprint import fingerprint

TREE = {"w": jnp.asarray(np.arange(6, dtype=np.float32).reshape(2, 3)), "flag": jnp.asarray([True, False])}


@pytest.mark.parametrize(
    "changed",
    [
        TREE | {"w": TREE["w"].at[0, 1].set(TREE["w"][0, 2]).at[0, 2].set(TREE["w"][0, 1])},
        TREE | {"w": TREE["w"][::-1]},
        TREE | {"w": TREE["w"].at[1, 1].add(1e-6)},
        TREE | {"flag": TREE["flag"][::-1]},
    ],
    ids=["two values are swapped", "rows are swapped", "one bit", "flags are swapped"],
)
def test_every_change_is_seen(changed):
    assert fingerprint(changed) != fingerprint(TREE) == fingerprint(dict(TREE))
