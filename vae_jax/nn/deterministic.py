"""The networks of a deterministic autoencoder: encoder, code, decoder and what the decoder's output stands for."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.prob.distances import Distance
from vae_jax.types import Spec


class Deterministic(nnx.Module):
    """x -> z -> x*.

    Args:
        spec: shape and mean of the data.
        latent: D.
        measure: the distance between x and x*.
        encode_with: an encoder of `nn.encoders`, to be given shape, number of labels and rngs.
        decode_with: a decoder of `nn.decoders`, or what wraps one, to be given D, the mean's maps and rngs.
        rngs: for the parameters.
        activation: of the code.
    """

    def __init__(
        self,
        spec: Spec,
        latent: int,
        measure: Distance,
        encode_with: Callable[..., nnx.Module],
        decode_with: Callable[..., nnx.Module],
        rngs: nnx.Rngs,
        activation: Callable[[jax.Array], jax.Array] = lambda z: z,
    ):
        self.measure, self.activation = measure, activation
        self.encoder = encode_with(spec.shape, 0, rngs)
        self.code = nnx.Linear(self.encoder.num_features, latent, rngs=rngs)
        self.decoder = decode_with(latent, measure.offset(spec.mean)[..., None], rngs)

    def encode(self, x: jax.Array) -> jax.Array:
        """Return the codes [N,D] of pictures [N,H,W,C]."""
        return self.activation(self.code(self.encoder(x, jnp.zeros((len(x), 0)))))

    def output(self, z: jax.Array) -> jax.Array:
        """Return what the decoder says of codes [N,D], which the distance reads: [N,H,W,C]."""
        return self.decoder(z)[..., 0]

    def decode(self, z: jax.Array) -> jax.Array:
        """Return the pictures x* of codes."""
        return self.measure.picture(self.output(z))

    def errors(self, image: jax.Array, output: jax.Array) -> dict[str, jax.Array]:
        """Return the distance of pictures from the decoder's output, and their mean squared and absolute error, [N]."""
        error = self.measure.picture(output) - image
        return {
            "distance": self.measure.between(image, output),
            "mse": jnp.square(error).mean((1, 2, 3)),
            "mae": jnp.abs(error).mean((1, 2, 3)),
        }
