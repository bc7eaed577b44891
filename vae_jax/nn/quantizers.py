"""From numbers to entries of a finite set. Each public function is a `config.model.quantizer.name`.

A quantizer is a module called as quantizer(e [N,P,D]) -> Quantized: P entries of D numbers for each example. `follow`,
called in training after the loss, moves what is not moved by gradients; `entries` is the way back from an index.

Squared distances are sums over the numbers of an entry and over the positions, as log-likelihoods are sums over pixels;
many implementations take their mean.

A code is *dead* if its moving share of all positions has fallen below a tenth of 1 / codes. It is then redrawn from
what it is to quantize in the batch at hand. All shares start below that, so the first step draws a whole codebook from
its batch (Zeghidour et al. 2021, section 3.3, begin with k-means). Who is dead is told by the shares before the step.
Under jit a batch is one, however many devices share it. A step that is mapped over an axis averages what its devices
find, which is right for shares and sums, but makes a redrawn code the mean of a row of each: train these under jit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vae_jax.types import Hypers

_DEAD = 0.1  # of the share that each code would have if all were used alike
_hold = jax.lax.stop_gradient


class Quantized(NamedTuple):
    """The entries nearest to e; the losses are sums of squares over positions and numbers, each [N]."""

    z: jax.Array  # [N,P,D], with the gradient of e: z = e + sg(entry - e)
    index: jax.Array  # [N,P,depth] int32, which entry of each codebook
    codebook: jax.Array  # |sg(e) - entry|^2, for a codebook that learns by gradients; else 0
    commitment: jax.Array  # |e - sg(entry)|^2, where there is a codebook; else 0


class Statistic(nnx.Variable):
    """What a codebook carries from step to step besides its parameters."""


def vq(dim: int, rngs: nnx.Rngs, *, codes: int = 256, decay: float = 0.99) -> nnx.Module:
    """Vector quantization with a codebook learned by gradients (van den Oord et al. 2017, equations 1 to 3).

    The losses are |sg(e) - c|^2 for the codebook and commitment * |e - sg(c)|^2 for the encoder. `decay` is that of the
    moving share by which dead codes are told.
    """
    return _Residual([_Learned(dim, codes, decay, rngs)], lambda hypers: hypers["commitment"])


def vq_ema(dim: int, rngs: nnx.Rngs, *, codes: int = 256, decay: float = 0.99) -> nnx.Module:
    """Vector quantization whose codes are the moving averages of what they stand for (the same, appendix A.1).

    With n_i the share of code i in a batch and s_i the sum of its e over their number, N_i <- decay N_i + (1 - decay)
    n_i, m_i <- decay m_i + (1 - decay) s_i and c_i = m_i / N_i. No smoothing of N: dead codes are redrawn long before.
    """
    return _Residual([_Averaged(dim, codes, decay, rngs)], lambda hypers: hypers["commitment"])


def residual_vq(dim: int, rngs: nnx.Rngs, *, codes: int = 64, depth: int = 4, decay: float = 0.99) -> nnx.Module:
    """`depth` codebooks of moving averages, each for what those before leave (Zeghidour et al. 2021, algorithm 1).

    The entry is the sum of one code of each; the commitment is the sum of that of each codebook to its own input.
    """
    return _Residual([_Averaged(dim, codes, decay, rngs) for _ in range(depth)], lambda hypers: hypers["commitment"])


def fsq(dim: int, rngs: nnx.Rngs, *, levels: tuple = (8, 5, 5, 5)) -> nnx.Module:
    """Finite scalar quantization: number d of an entry has levels[d] values (Mentzer et al. 2024, section 3).

    With L levels the value is 2 r / (L - 1) - 1, r = round((L - 1) (1 + tanh e) / 2): L points from -1 to 1. For an
    even L the paper shifts them, so that one of them is 0. No codebook, and no loss but that of the model.
    """
    del dim, rngs  # its entries have a number for each of the levels, whatever is asked for
    return _Finite(levels)


class _Codebook(nnx.Module):
    """Codes [codes,D], and the moving share of each."""

    def __init__(self, codes: int, decay: float):
        self.decay, self.share = decay, Statistic(jnp.full(codes, 0.5 * _DEAD / codes))

    def lookup(self, e: jax.Array) -> jax.Array:
        """Return the index of the nearest code: [N,P,D] -> [N,P]."""
        codes = self.codes()
        # In full precision whatever train.precision is: of large numbers, it is their small difference that counts.
        return jnp.argmin(jnp.square(codes).sum(-1) - 2 * jnp.matmul(e, codes.T, precision="highest"), -1)

    def follow(self, e: jax.Array, index: jax.Array, key: jax.Array) -> None:
        e, count = e.reshape(-1, e.shape[-1]), len(self.share[...])
        chosen = jax.nn.one_hot(index.reshape(-1), count)
        rows = jnp.resize(jax.random.permutation(key, len(e)), count)  # no row twice, unless there are too few
        dead = self.share[...] < _DEAD / count
        share = self.decay * self.share[...] + (1 - self.decay) * chosen.mean(0)
        self.move(dead[:, None], e[rows], jnp.matmul(chosen.T, e, precision="highest") / len(e))
        self.share[...] = jnp.where(dead, 1 / count, share)


class _Learned(_Codebook):
    """Codes = parameters + jumps: a restart moves the jump, for only gradients move parameters."""

    def __init__(self, dim: int, codes: int, decay: float, rngs: nnx.Rngs):
        super().__init__(codes, decay)
        self.learned = nnx.Param(jax.random.normal(rngs.params(), (codes, dim)))
        self.jump = Statistic(jnp.zeros((codes, dim)))

    def codes(self) -> jax.Array:
        return self.learned[...] + self.jump[...]

    def move(self, dead: jax.Array, fresh: jax.Array, total: jax.Array) -> None:
        del total
        self.jump[...] = jnp.where(dead, fresh - self.learned[...], self.jump[...])


class _Averaged(_Codebook):
    """Codes = moving sum of e / moving share."""

    def __init__(self, dim: int, codes: int, decay: float, rngs: nnx.Rngs):
        super().__init__(codes, decay)
        self.total = Statistic(self.share[...][:, None] * jax.random.normal(rngs.params(), (codes, dim)))

    def codes(self) -> jax.Array:
        return self.total[...] / self.share[...][:, None]

    def move(self, dead: jax.Array, fresh: jax.Array, total: jax.Array) -> None:
        followed = self.decay * self.total[...] + (1 - self.decay) * total
        self.total[...] = jnp.where(dead, fresh / len(fresh), followed)


class _Residual(nnx.Module):
    """Codebooks one after another; one of them is plain vector quantization."""

    def __init__(self, books: list[_Codebook], weight: Callable[[Hypers], jax.Array]):
        self.books, self.weight = nnx.Dict({f"book_{i}": book for i, book in enumerate(books)}), weight
        self.depth, (self.size, self.dim) = len(books), books[0].codes().shape

    def __call__(self, e: jax.Array) -> Quantized:
        left, index, codebook, commitment = e, [], 0.0, 0.0
        for book in self.books.values():
            index.append(book.lookup(left))
            code = book.codes()[index[-1]]
            if isinstance(book, _Learned):
                codebook += _squares(_hold(left) - code)
            commitment += _squares(left - _hold(code))
            left -= code
        index = jnp.stack(index, -1)
        z = _hold(self.entries(index)) + (e - _hold(e))
        return Quantized(z, index, jnp.broadcast_to(codebook, len(e)), commitment)

    def entries(self, index: jax.Array) -> jax.Array:
        """[...,depth] -> [...,D]."""
        return sum(book.codes()[index[..., i]] for i, book in enumerate(self.books.values()))

    def loss(self, quantized: Quantized, hypers: Hypers) -> jax.Array:
        """Return what is added to -log p(x|z): [N]."""
        return quantized.codebook + self.weight(hypers) * quantized.commitment

    def follow(self, e: jax.Array, index: jax.Array, key: jax.Array) -> None:
        """Update shares and averages by a batch, and redraw dead codes from it."""
        for i, book in enumerate(self.books.values()):
            left = e
            e = left - book.codes()[index[..., i]]
            book.follow(left, index[..., i], jax.random.fold_in(key, i))


class _Finite(nnx.Module):
    """A grid of points in [-1, 1]^D, numbered with the first number as the highest digit."""

    def __init__(self, levels: tuple[int, ...]):
        self.levels, self.depth, self.size, self.dim = tuple(levels), 1, math.prod(levels), len(levels)

    def __call__(self, e: jax.Array) -> Quantized:
        steps = np.array(self.levels) - 1
        bounded = steps * (1 + jnp.tanh(e)) / 2
        digits = jnp.round(_hold(bounded))
        index = digits.astype(jnp.int32) @ np.cumprod((1, *self.levels[:0:-1]))[::-1].astype(np.int32)
        z = 2 * (digits + (bounded - _hold(bounded))) / steps - 1
        return Quantized(z, index[..., None], jnp.zeros(len(e)), jnp.zeros(len(e)))

    def entries(self, index: jax.Array) -> jax.Array:
        """[...,1] -> [...,D]."""
        digits = jnp.stack(jnp.unravel_index(index[..., 0], self.levels), -1)
        return 2 * digits / (np.array(self.levels) - 1) - 1

    def loss(self, quantized: Quantized, hypers: Hypers) -> jax.Array:
        """Return what is added to -log p(x|z): nothing."""
        del hypers
        return jnp.zeros(len(quantized.z))

    def follow(self, e: jax.Array, index: jax.Array, key: jax.Array) -> None:
        """Do nothing: there is nothing to move."""


def _squares(difference: jax.Array) -> jax.Array:
    return jnp.square(difference).sum((1, 2))
