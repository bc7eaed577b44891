"""Two fingerprints of a state: a quick one that every checkpoint carries, and SHA-256 for the record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.types import Tree


def fingerprint(tree: Tree) -> dict[str, int]:
    """Return a 32-bit number per leaf, by path. Any change of a single 32-bit word changes it.

    It is a sum of words times odd weights modulo 2^32: exact, and the same on any number of devices.
    """
    return {jax.tree_util.keystr(path): int(v) for path, v in jax.tree_util.tree_leaves_with_path(_sums(tree))}


def state_sha256(tree: Tree) -> str:
    """Return the SHA-256 over the paths, types, shapes and bytes of all leaves."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(_data(leaf))
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def describe(tree: Tree, run: str | None, marks: Sequence[tuple[int, str]] = ()) -> dict[str, Any]:
    """Return what is committed with a step: its run; a fingerprint, shape and type of every leaf, by path; marks."""
    shapes = jax.tree_util.tree_leaves_with_path(raw_keys(tree))
    table = {jax.tree_util.keystr(path): [list(leaf.shape), str(leaf.dtype)] for path, leaf in shapes}
    content = {"fingerprint": fingerprint(tree), "table": table} | ({"run": run} if run else {})
    content |= {"metrics": [list(mark) for mark in marks]} if marks else {}
    return content | {"sha256": digest(content)}


def digest(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a description, as the description itself carries it."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def raw_keys(tree: Tree) -> Tree:
    """Replace typed PRNG keys by the integers they are stored as."""
    return jax.tree.map(_data, tree)


def _data(leaf: jax.Array) -> jax.Array:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


@jax.jit
def _sums(tree: Tree) -> Tree:
    def weigh(leaf: jax.Array) -> jax.Array:
        leaf = _data(leaf)
        if leaf.dtype == jnp.bool_:
            leaf = leaf.astype(jnp.uint8)
        word = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
        words = jax.lax.bitcast_convert_type(leaf, word).reshape(-1).astype(jnp.uint32)
        weights = (jnp.arange(words.size, dtype=jnp.uint32) * jnp.uint32(2654435761)) | jnp.uint32(1)
        return jnp.sum(words * weights, dtype=jnp.uint32)

    return jax.tree.map(weigh, tree)
