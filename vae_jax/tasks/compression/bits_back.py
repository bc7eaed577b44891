"""Bits-back coding with asymmetric numeral systems: pictures on a stack at the cost of the -ELBO.

Townsend et al. (2019), "Practical lossless compression with latent variables using bits back coding". To push a picture
x, a latent z is *popped* with q(z|x), which takes -log q(z|x) bits off the stack; then x is pushed with p(x|z), and z
with p(z). The net cost is log q(z|x) - log p(x, z), in expectation the -ELBO. Popping a picture does all this backwards
and puts the bits back.

z lies on a grid: whole multiples of a step, within a limit. Posterior and prior are normal distributions integrated
over its cells, so the step itself costs nothing. The number of cells does: each has a probability of 2^-24 at least,
and a z popped from far off the mean costs hundreds of nats.

The stack computes with whole numbers. The floats it is given are those of the network, and both sides must compute the
same ones to the bit: they run the same compiled functions at the same batch shape, filled up with zeros.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import constriction
import jax
import numpy as np

from vae_jax.trained import Trained
from vae_jax.types import Coding, Tree

STEP_BITS, LIMIT = 4, 6  # latents are multiples of 1/16 from -6 to 6
_MOST_BITS = 24  # that one symbol takes off the stack: the precision of constriction's models
_BYTES = 32e6  # of masses that are computed at once

models, AnsCoder = constriction.stream.model, constriction.stream.stack.AnsCoder

_LAST = LIMIT << STEP_BITS
_NORMAL = models.QuantizedGaussian(-_LAST, _LAST)
_BINARY, _CATEGORICAL = models.Bernoulli(perfect=False), models.Categorical(perfect=False)

Latents = tuple[np.ndarray, ...]  # of the layers from the top, each [b,D]


class Coder(NamedTuple):
    """A model that codes up to `size` pictures [H,W,C] at once, of values 0, 1, ... as its likelihood numbers them."""

    coding: Coding
    params: Tree
    stats: Tree
    shape: tuple[int, int, int]
    num_classes: int  # 0 where the model is given no labels
    size: int

    def push(self, stack: AnsCoder, values: np.ndarray, labels: np.ndarray) -> None:
        """Push pictures [b,H,W,C] and their labels [b] on a stack that holds `needed_bits(b)`."""
        latents: Latents = ()
        for _ in self.coding.sizes:
            latents += (_pop_latents(stack, *self.posterior(values, labels, latents)),)
        digits, maps = _digits(values, self.coding.bases), self.maps(labels, latents)
        for i in reversed(range(len(digits))):
            _push_digit(stack, digits[i], self.masses(maps, digits[:i], len(values)))
        for i in reversed(range(len(latents))):
            _push_latents(stack, latents[i], *self.prior(labels, latents[:i]))
        if self.num_classes > 1:
            stack.encode_reverse(labels.astype(np.int32), models.Uniform(self.num_classes))

    def pop(self, stack: AnsCoder, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Pop the `count` pictures that were pushed at once, the last of all; return them and their labels."""
        labels = np.zeros(count, np.int32)
        if self.num_classes > 1:
            labels = stack.decode(models.Uniform(self.num_classes), count)
        latents: Latents = ()
        for _ in self.coding.sizes:
            latents += (_pop_latents(stack, *self.prior(labels, latents)),)
        digits, maps = (), self.maps(labels, latents)
        for _ in self.coding.bases:
            digits += (_pop_digit(stack, self.masses(maps, digits, count)).reshape(count, *self.shape),)
        values = np.ravel_multi_index(digits, self.coding.bases)
        for i in reversed(range(len(latents))):
            _push_latents(stack, latents[i], *self.posterior(values, labels, latents[:i]))
        return values, labels

    def needed_bits(self, count: int) -> int:
        """Return how many bits on the stack are surely enough to push `count` pictures."""
        return 64 + _MOST_BITS * count * sum(self.coding.sizes)

    def posterior(self, values: np.ndarray, labels: np.ndarray, above: Latents) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and scale [b,D] of q(z|x, above) for the layer below `above`."""
        # The exact grid k / (V - 1), divided here: a compiled division may be off in the last place.
        image = values.astype(np.float32) / np.float32(np.prod(self.coding.bases) - 1)
        batch = self._filled({"image": image, "input": image, "label": labels, "index": np.arange(len(labels))})
        found = _posterior(self.coding, self.params, self.stats, batch, self._filled(above))
        return _rows(found, len(labels))

    def prior(self, labels: np.ndarray, above: Latents) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and scale [b,D] of p(z|above) for the layer below `above`."""
        found = _prior(self.coding, self.params, self.stats, *self._filled((labels, above)))
        return _rows(found, len(labels))

    def maps(self, labels: np.ndarray, latents: Latents) -> Tree:
        """Return what the decoder says of the pixels, on the device, for `size` pictures."""
        return _maps(self.coding, self.params, self.stats, *self._filled((labels, latents)))

    def masses(self, maps: Tree, before: Latents, count: int) -> np.ndarray:
        """Return the probabilities [b*H*W*C, base] of a digit, given the digits [b,H,W,C] before it."""
        masses = np.asarray(_masses(self.coding, maps, self._filled(before)))[:count]
        return masses.reshape(-1, masses.shape[-1])

    def _filled(self, tree: Tree) -> Tree:
        def fill(array: np.ndarray) -> np.ndarray:
            dtype = np.float32 if array.dtype.kind == "f" else np.int32
            full = np.zeros((self.size, *array.shape[1:]), dtype)
            full[: len(array)] = array
            return full

        return jax.tree.map(fill, tree)


def make_coder(trained: Trained, count: int) -> Coder:
    """Return the coder of a model that has `coding`, with batches that suit `count` pictures."""
    shape, coding = tuple(trained.spec.shape), trained.model.coding
    fitting = int(_BYTES // (4 * np.prod(shape) * sum(coding.bases)))
    size = max(1, min(count, 256, fitting))
    classes = trained.spec.num_classes if trained.conditional else 0
    return Coder(coding, trained.params, trained.stats, shape, classes, size)


def encode(coder: Coder, values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[int], int]:
    """Code pictures [N,H,W,C] with values from 0, and their labels [N].

    The stack begins with a few pseudo-random words, so that there is something to pop from. Batches are as large as the
    bits on the stack surely allow: one at first, and soon `coder.size`.

    Returns:
        the stack as words of 32 bits, the sizes of the batches in order, and the number of words it began with.
    """
    start, batches, num_words = 0, [], 2
    stack = AnsCoder(initial_words(num_words))
    while start < len(values):
        missing = coder.needed_bits(1) - stack.num_bits()
        if missing > 0:  # slide more words under the others
            more = -(-missing // 32)
            below = initial_words(num_words + more)[:more]
            stack, num_words = AnsCoder(np.concatenate([below, stack.get_compressed()])), num_words + more
        enough = (stack.num_bits() - coder.needed_bits(0)) // (coder.needed_bits(1) - coder.needed_bits(0))
        end = min(start + min(enough, coder.size), len(values))
        coder.push(stack, values[start:end], labels[start:end])
        batches.append(end - start)
        start = end
    return stack.get_compressed(), batches, num_words


def decode(
    coder: Coder, words: np.ndarray, batches: Sequence[int], num_words: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the pictures and the labels that `encode` was given, or None if the stack does not end as it began."""
    stack, found = AnsCoder(words), []
    for count in reversed(batches):
        found.append(coder.pop(stack, count))
    if not np.array_equal(stack.get_compressed(), initial_words(num_words)):
        return None
    values = np.concatenate([np.zeros((0, *coder.shape), np.int32), *(values for values, _ in reversed(found))])
    return values, np.concatenate([np.zeros(0, np.int32), *(labels for _, labels in reversed(found))])


def initial_words(count: int) -> np.ndarray:
    """Return the pseudo-random words of 32 bits that a stack begins with; more words are put before fewer."""
    return np.frombuffer(hashlib.shake_256(b"vae_jax bits back").digest(4 * count), "<u4")[::-1].astype(np.uint32)


def probe(coder: Coder) -> str:
    """Return the SHA-256 of what the network gives for fixed pictures and codes: a number of this machine.

    Where it differs, what was coded elsewhere cannot be decoded: the floats differ.
    """
    rng = np.random.RandomState(0)  # whose numbers NumPy never changes
    values = rng.randint(0, np.prod(coder.coding.bases), (coder.size, *coder.shape))
    labels = rng.randint(0, max(coder.num_classes, 1), coder.size)
    digest, latents, digits = hashlib.sha256(), (), ()
    for layer in coder.coding.sizes:
        for array in (*coder.posterior(values, labels, latents), *coder.prior(labels, latents)):
            digest.update(array.tobytes())
        latents += (rng.randint(-2 << STEP_BITS, 2 << STEP_BITS, (coder.size, layer)) / np.float32(1 << STEP_BITS),)
    maps = coder.maps(labels, latents)
    for digit in _digits(values, coder.coding.bases):
        digest.update(coder.masses(maps, digits, coder.size).tobytes())
        digits += (digit,)
    return digest.hexdigest()


def _pop_latents(stack: AnsCoder, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    index = stack.decode(_NORMAL, *_on_grid(loc, scale)).reshape(loc.shape)
    return index.astype(np.float32) / (1 << STEP_BITS)


def _push_latents(stack: AnsCoder, latents: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> None:
    index = (latents.ravel() * (1 << STEP_BITS)).astype(np.int32)  # a whole number, exactly
    stack.encode_reverse(index, _NORMAL, *_on_grid(loc, scale))


def _on_grid(loc: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale in steps of the grid, flat; a mean outside the grid goes to its edge."""
    mean = np.clip(loc.astype(np.float64) * (1 << STEP_BITS), -_LAST, _LAST)
    return mean.ravel(), np.clip(scale.astype(np.float64) * (1 << STEP_BITS), 1e-3, 1e6).ravel()


def _push_digit(stack: AnsCoder, digit: np.ndarray, masses: np.ndarray) -> None:
    symbols = digit.ravel().astype(np.int32)
    if masses.shape[-1] == 2:
        stack.encode_reverse(symbols, _BINARY, np.ascontiguousarray(masses[:, 1]))
    else:
        stack.encode_reverse(symbols, _CATEGORICAL, masses)


def _pop_digit(stack: AnsCoder, masses: np.ndarray) -> np.ndarray:
    if masses.shape[-1] == 2:
        return stack.decode(_BINARY, np.ascontiguousarray(masses[:, 1]))
    return stack.decode(_CATEGORICAL, masses)


def _digits(values: np.ndarray, bases: Sequence[int]) -> Latents:
    return tuple(digit.astype(np.int32) for digit in np.unravel_index(values, bases))


def _rows(found: Tree, count: int) -> Any:
    return jax.tree.map(lambda array: np.asarray(array)[:count], found)


@functools.partial(jax.jit, static_argnums=0)
def _posterior(coding: Coding, params: Tree, stats: Tree, batch: Tree, above: Latents) -> tuple[jax.Array, jax.Array]:
    q = coding.posterior(params, stats, batch, above)
    return q.loc, q.scale


@functools.partial(jax.jit, static_argnums=0)
def _prior(coding: Coding, params: Tree, stats: Tree, label: jax.Array, above: Latents) -> tuple[jax.Array, jax.Array]:
    p = coding.prior(params, stats, label, above)
    return p.loc, p.scale


@functools.partial(jax.jit, static_argnums=0)
def _maps(coding: Coding, params: Tree, stats: Tree, label: jax.Array, latents: Latents) -> Tree:
    return coding.maps(params, stats, label, latents)


@functools.partial(jax.jit, static_argnums=0)
def _masses(coding: Coding, maps: Tree, before: Latents) -> jax.Array:
    return coding.digit(maps, before)
