"""How a stored picture becomes the x of a model. Each public function is a value of `config.data.pixels`.

All take the same arguments: `keys_of(epoch) -> [B]`, the keys of the examples in an epoch; `images` [B,H,W,C], stored
values divided by that of white; and `epoch`. All return x [B,H,W,C], float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.types import Values

KeysOf = Callable[[jax.Array | int], jax.Array]

# The kind of x that a function makes of any picture; `unit`, which is not here, keeps that of the data.
VALUES: dict[str, Values] = {"uint8": "levels", "threshold": "binary", "static": "binary", "dynamic": "binary"}

DRAWN = ("static", "dynamic")

_GRID = np.arange(256, dtype=np.float32) / np.float32(255)


def unit(keys_of: KeysOf, images: jax.Array, epoch: jax.Array | int) -> jax.Array:
    """Keep the values in [0, 1]."""
    del keys_of, epoch
    return images


def uint8(keys_of: KeysOf, images: jax.Array, epoch: jax.Array | int) -> jax.Array:
    """Keep the 256 gray levels k/255, for likelihoods of discrete values; data that have other levels are refused."""
    del keys_of, epoch
    # A compiled division by a constant is off by one unit in the last place for half of the levels.
    return jnp.asarray(_GRID)[jnp.round(255 * images).astype(jnp.uint8)]


def threshold(keys_of: KeysOf, images: jax.Array, epoch: jax.Array | int) -> jax.Array:
    """Return 1 where the value is above one half, else 0."""
    del keys_of, epoch
    return (images > 0.5).astype(images.dtype)


def static(keys_of: KeysOf, images: jax.Array, epoch: jax.Array | int) -> jax.Array:
    """Draw each pixel once and for all as a Bernoulli variable with the value as its probability.

    The draw is a function of the data seed, the split and the example.
    """
    del epoch
    return _draw(keys_of(0), images)


def dynamic(keys_of: KeysOf, images: jax.Array, epoch: jax.Array | int) -> jax.Array:
    """Draw each pixel as a Bernoulli variable with the value as its probability (Salakhutdinov and Murray 2008).

    The keys change with the epoch in training; validation and test pictures are drawn once and stay.
    """
    return _draw(keys_of(epoch), images)


def _draw(keys: jax.Array, images: jax.Array) -> jax.Array:
    draw = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
    return (draw < images).astype(images.dtype)
