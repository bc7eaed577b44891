"""No two streams of randomness share a key, although all seeds are equal by default."""

import itertools

import jax

from vae_jax.streams import stream

NAMES = [
    "model",
    "evaluate",
    "importance samples",
    "samples",
    *(f"data of {s}" for s in ("train", "validation", "test")),
]


def test_roots_and_what_is_split_or_folded_from_them_are_all_different():
    keys = []
    for name in NAMES:
        root = stream(0, name)
        keys += [root, *jax.random.split(root), *(jax.random.fold_in(root, i) for i in range(2, 20))]
        keys += [jax.random.fold_in(key, i) for key, i in itertools.product(jax.random.split(root), range(5))]
    distinct = {tuple(jax.random.key_data(key).tolist()) for key in keys}
    assert len(distinct) == len(keys)


def test_streams_depend_on_the_seed():
    assert jax.random.key_data(stream(0, "model")).tolist() != jax.random.key_data(stream(1, "model")).tolist()
