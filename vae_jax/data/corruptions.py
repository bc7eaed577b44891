"""What the encoder of a denoising model sees instead of x. Each public function is a `config.data.corruption.name`.

Every one takes a key per example, so that the corruption of an example does not depend on its batch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def gaussian(keys: jax.Array, images: jax.Array, *, scale: float = 0.5) -> jax.Array:
    """Add normal noise of standard deviation `scale`. `keys` [B], `images` [B,H,W,C] in [0, 1]; not clipped."""
    return images + scale * jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)


def masking(keys: jax.Array, images: jax.Array, *, probability: float = 0.5) -> jax.Array:
    """Set each pixel to 0 with the given probability (Vincent et al. 2008, section 2.3)."""
    return jnp.where(_draw(keys, images) < probability, 0.0, images)


def salt_and_pepper(keys: jax.Array, images: jax.Array, *, probability: float = 0.2) -> jax.Array:
    """Set each pixel with the given probability to 0 or 1, either equally often (Vincent et al. 2010, section 3.2)."""
    draw = _draw(keys, images)
    return jnp.where(draw < probability / 2, 0.0, jnp.where(draw < probability, 1.0, images))


def _draw(keys: jax.Array, images: jax.Array) -> jax.Array:
    return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
