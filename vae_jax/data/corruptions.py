"""What the encoder sees instead of x. Each public function is a `config.data.corruption.name`.

All take `keys` [B], one per example, so that the corruption of an example does not depend on its batch, and `images`
[B,H,W,C] in [0, 1]; they return pictures of the same shape. A picture that a corruption does not fit is refused with a
ConfigError when the function is traced.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import ConfigError


def gaussian(keys: jax.Array, images: jax.Array, *, scale: float = 0.5) -> jax.Array:
    """Add normal noise of standard deviation `scale`; the sum is not clipped."""
    return images + scale * jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)


def masking(keys: jax.Array, images: jax.Array, *, probability: float = 0.5) -> jax.Array:
    """Set each pixel, all its channels together, to 0 with the given probability (Vincent et al. 2008, section 2.3)."""
    return jnp.where(_uniform(keys, (*images.shape[1:3], 1)) < probability, 0.0, images)


def salt_and_pepper(keys: jax.Array, images: jax.Array, *, probability: float = 0.2) -> jax.Array:
    """Set each value with the given probability to 0 or 1, either equally often (Vincent et al. 2010, section 3.2).

    The channels of a pixel are drawn apart.
    """
    draw = _uniform(keys, images.shape[1:])
    return jnp.where(draw < probability / 2, 0.0, jnp.where(draw < probability, 1.0, images))


def block_masking(keys: jax.Array, images: jax.Array, *, size: int) -> jax.Array:
    """Set one square of `size` x `size` pixels per picture to 0 (a region to inpaint, Pathak et al. 2016, section 3.3).

    All positions at which it lies wholly inside are equally likely.
    """
    height, width = images.shape[1:3]
    if size > min(height, width):
        raise ConfigError(
            f"data.corruption.size={size} is more than the pictures have, {height} x {width} pixels; "
            f"set it to {min(height, width)} or less"
        )
    top, left = jax.vmap(
        lambda key: jax.random.randint(key, (2,), 0, jnp.array([height - size + 1, width - size + 1])), out_axes=1
    )(keys)
    hidden = _within(top, size, height)[:, :, None] & _within(left, size, width)[:, None, :]
    return jnp.where(hidden[..., None], 0.0, images)


def gray(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Replace colour by its luminance 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), the same in all three channels."""
    del keys
    if images.shape[-1] != 3:
        raise ConfigError(
            f"data.corruption.name='gray' needs pictures of 3 channels, and these have {images.shape[-1]}; "
            "take colour pictures or another corruption"
        )
    red, green, blue = jnp.moveaxis(images, -1, 0)
    return jnp.broadcast_to((0.299 * red + 0.587 * green + 0.114 * blue)[..., None], images.shape)


def blur(keys: jax.Array, images: jax.Array, *, sigma: float = 1.0) -> jax.Array:
    """Convolve with a Gaussian of standard deviation `sigma` pixels, cut at 4 sigma.

    The picture is continued by reflection about its outer edge (d c b a | a b c d | d c b a).
    """
    del keys
    # On a CPU two small matrix products per picture are many times faster than a convolution.
    down, across = (jnp.asarray(_blur_matrix(size, sigma)) for size in images.shape[1:3])
    return jnp.einsum("hi,wj,bijc->bhwc", down, across, images, precision="highest")


def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    """Return [size,size], row i the weights of the pixels of a line in the blurred pixel i."""
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    position = (np.arange(size)[:, None] + offsets) % (2 * size)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], np.minimum(position, 2 * size - 1 - position)), weights)
    return (matrix / weights.sum()).astype(np.float32)


def _within(start: jax.Array, size: int, length: int) -> jax.Array:
    """Return [B,length], true from start [B] on for `size` places."""
    offset = jnp.arange(length) - start[:, None]
    return (offset >= 0) & (offset < size)


def _uniform(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)
