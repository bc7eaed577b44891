"""A distribution over short sequences of indices, one after another: p(i_1) p(i_2 | i_1) ... ."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

_SMALL = nnx.initializers.variance_scaling(0.1, "fan_in", "truncated_normal")


class Autoregressive(nnx.Module):
    """A causal MLP-Mixer over the indices before: each block mixes tokens by a lower triangular matrix, then features.

    The distribution of a token reads the embeddings of the tokens before it, its position, and the context. At lengths
    below 100 such a matrix does what attention would, for less.

    Args:
        length: T, tokens of a sequence.
        kinds: token t is of kind t % kinds; each kind has its own embedding and its own meaning of an index.
        codes: values of an index.
        num_context: E, numbers that each sequence is conditioned on; may be 0.
        width: features of a token.
        depth: blocks.
        rngs: for the initial parameters.
    """

    def __init__(self, length: int, kinds: int, codes: int, num_context: int, width: int, depth: int, rngs: nnx.Rngs):
        self.length, self.kinds, self.codes = length, kinds, codes
        self.embedding = nnx.Param(jax.random.normal(rngs.params(), (kinds, codes, width)))
        self.position = nnx.Param(jax.random.normal(rngs.params(), (length, width)))
        self.context = nnx.Linear(num_context, width, use_bias=False, rngs=rngs) if num_context else None
        self.blocks = nnx.Dict({f"block_{i}": _Block(length, width, rngs) for i in range(depth)})
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        scale = 0.1 / width**0.5  # nearly uniform at the start
        self.out = nnx.Param(scale * jax.random.normal(rngs.params(), (kinds, width, codes)))
        self.bias = nnx.Param(jnp.zeros((length, codes)))

    def logits(self, embedded: jax.Array, context: jax.Array) -> jax.Array:
        """Return [N,T,codes], where row t reads rows before t of `embedded` [N,T,width] and the context [N,E]."""
        x = jnp.pad(embedded[:, :-1], ((0, 0), (1, 0), (0, 0))) + self.position[...]
        if self.context is not None:
            x = x + self.context(context)[:, None]
        for block in self.blocks.values():
            x = block(x)
        by_kind = self.norm(x).reshape(len(x), -1, self.kinds, x.shape[-1])
        return jnp.einsum("ntkw,kwc->ntkc", by_kind, self.out[...]).reshape(*x.shape[:2], -1) + self.bias[...]

    def embed(self, index: jax.Array) -> jax.Array:
        """[N,T] -> [N,T,width]."""
        return self.embedding[...][jnp.arange(self.length) % self.kinds, index]

    def log_prob(self, index: jax.Array, context: jax.Array) -> jax.Array:
        """Return log p(index | context) in nats, summed over the tokens: [N,T], [N,E] -> [N]."""
        log_probs = jax.nn.log_softmax(self.logits(self.embed(index), context))
        return jnp.take_along_axis(log_probs, index[..., None], -1).sum((1, 2))

    def sample(self, key: jax.Array, context: jax.Array, temperature: jax.Array | float) -> jax.Array:
        """Return sequences [N,T], N that of the context [N,E], each token drawn from p(i | before)^(1 / temperature).

        The largest of logits + temperature * Gumbel noise: so a temperature of 0 takes the likeliest token.
        """
        noise = temperature * jax.random.gumbel(key, (len(context), self.length, self.codes))

        def draw(t, index):
            scores = self.logits(self.embed(index), context)[:, t] + noise[:, t]
            return index.at[:, t].set(jnp.argmax(scores, -1))

        return jax.lax.fori_loop(0, self.length, draw, jnp.zeros(noise.shape[:2], jnp.int32))


class _Block(nnx.Module):
    def __init__(self, length, width, rngs):
        self.norm_tokens, self.norm_features = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.mix = nnx.Param(0.1 * jax.random.normal(rngs.params(), (length, length)) / length**0.5)
        self.features_in = nnx.Linear(width, 2 * width, rngs=rngs)
        self.features_out = nnx.Linear(2 * width, width, kernel_init=_SMALL, rngs=rngs)

    def __call__(self, x):
        x = x + jnp.einsum("ts,nsw->ntw", jnp.tril(self.mix[...]), self.norm_tokens(x))
        return x + self.features_out(nnx.gelu(self.features_in(self.norm_features(x))))
