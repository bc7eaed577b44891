"""Named streams of randomness: the roots from which all keys are derived."""

from __future__ import annotations

import zlib

import jax


def stream(seed: int, name: str) -> jax.Array:
    """Return the root key of the stream `name` under a seed.

    Roots need names because `split(key)[i]` and `fold_in(key, i)` are the same key: without them, streams that are
    derived from equal seeds in different ways would share their numbers.
    """
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
