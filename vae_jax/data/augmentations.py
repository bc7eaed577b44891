"""Other pictures of the same thing, in training only. Each public function is a `config.data.augmentation.name`.

All take `keys` [B], one per example and epoch, `images` [B,H,W,C] in [0, 1], and the epoch; they return pictures of the
same shape, which are both what is encoded and what is to be decoded. `epochs` says for how many epochs; None for all.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def affine(
    keys: jax.Array, images: jax.Array, epoch: jax.Array | int, *, scale: float = 0.2, epochs: int | None = None
) -> jax.Array:
    """Shift, turn, stretch and shear a picture: the value at p is that at (I + A) p + b, between pixels linear.

    p is the place from the middle, from -1 to 1 on the longer side; the entries of A and b are uniform in +-`scale`.
    What comes from outside of the picture is black.
    """
    height, width = images.shape[1:3]
    middle = jnp.array([height - 1, width - 1]) / 2
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), -1) - middle

    def moved(key: jax.Array, image: jax.Array) -> jax.Array:
        drawn = jax.random.uniform(key, (2, 3), minval=-scale, maxval=scale)
        place = grid + grid @ drawn[:, :2].T + drawn[:, 2] * middle.max() + middle
        lookup = lambda channel: map_coordinates(channel, (place[..., 0], place[..., 1]), order=1)  # noqa: E731
        return jax.vmap(lookup, in_axes=-1, out_axes=-1)(image)

    if epochs is None:
        return jax.vmap(moved)(keys, images)
    return jax.lax.cond(epoch < epochs, lambda: jax.vmap(moved)(keys, images), lambda: images)
