"""How a stored picture becomes the x of a model. Each public function is a value of `config.data.pixels`."""

from __future__ import annotations

import jax


def unit(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Keep the values in [0, 1]. `keys` [B] and `images` [B,H,W,C] as in every function here."""
    del keys
    return images


def threshold(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Return 1 where the value is above one half, else 0."""
    del keys
    return (images > 0.5).astype(images.dtype)


def dynamic(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Draw each pixel as a Bernoulli variable with the value as its probability (Salakhutdinov and Murray 2008).

    The keys change with the epoch in training; validation and test pictures are drawn once and stay.
    """
    draw = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
    return (draw < images).astype(images.dtype)
