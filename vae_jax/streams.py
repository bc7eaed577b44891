"""Named streams of randomness: the roots from which all keys are derived."""

from __future__ import annotations

import zlib

import jax
import numpy as np


def stream(seed: int, name: str) -> jax.Array:
    """Return the root key of the stream `name` under a seed.

    Roots need names because `split(key)[i]` and `fold_in(key, i)` are the same key: without them, streams that are
    derived from equal seeds in different ways would share their numbers.
    """
    return _root(np.uint32(seed & 0xFFFFFFFF), np.uint32(zlib.crc32(name.encode())))


@jax.jit  # one program for all seeds and names: step by step it is four, and each takes as long to compile
def _root(seed: jax.Array, name: jax.Array) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), name)
