"""Partners: pictures that share all but some of their factors with an example (Locatello et al. 2020, section 5).

Which one it is depends on data seed, epoch and example alone. It is computed from integers by operations that NumPy and
JAX do alike, so that a set on the devices has the partners that it has when it is read on the host.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.dataset import Split
from vae_jax.errors import ConfigError

_TRIES = 8  # one fails in a share of them that is that of the pictures in other splits


class Pairs(NamedTuple):
    """The combination of factors of each example, and back: arrays of NumPy, or of JAX on the devices."""

    number: Any  # [N] of the combination, the last factor varying fastest; factors of one value are left out
    example: Any  # [prod counts]: the example of this combination; -1 where it is in no picture of the split
    counts: Any  # [F] number of values of each factor
    strides: Any  # [F] by how much the number grows with it
    changed: Any  # in how many factors partners differ; 0 for a number that is drawn
    seed: Any  # [1]

    def of(self, index: Any, epoch: Any) -> Any:
        """Return the partner [B] of each example: index [B] int32, epoch a number or [B].

        It is drawn uniformly from the examples of this split that differ in exactly `changed` factors, or in a number
        of them that is drawn from 1..F-1 first. What is in other splits is drawn again, eight times at most; whoever
        has found none by then is its own partner.
        """
        xp, size = index.__array_namespace__(), len(self.counts)
        words = self._words(index, epoch)
        drawn = 1 + words[..., 2 * size] % np.uint32(size - 1)
        changed = xp.where(self.changed == 0, drawn.astype(xp.int32), self.changed)
        order = xp.argsort(xp.argsort(words[..., :size], axis=-1), axis=-1)
        ahead = 1 + words[..., size : 2 * size] % (self.counts - 1).astype(xp.uint32)
        values = self.number[index][:, None] // self.strides % self.counts
        moved = xp.where(order < changed[..., None], (values + ahead.astype(xp.int32)) % self.counts, values)
        found = self.example[(moved * self.strides).sum(-1)]
        chosen = found[(found >= 0).argmax(0), xp.arange(len(index))]
        return xp.where(chosen < 0, index, chosen).astype(xp.int32)

    def _words(self, index: Any, epoch: Any) -> Any:
        """Return random words [tries, B, 2 F + 1]."""
        xp = index.__array_namespace__()
        start = _mixed(_mixed(_mixed(self.seed) + xp.asarray(epoch).astype(xp.uint32)) + index.astype(xp.uint32))
        columns = xp.arange(_TRIES * (2 * len(self.counts) + 1), dtype=xp.uint32).reshape(_TRIES, 1, -1)
        return _mixed(_mixed(columns) + start[:, None])


def make_pairs(split: Split, factors: Mapping[str, int], changed: int, seed: int) -> Pairs:
    """Return the pairs of a split: no picture of another one becomes a partner.

    Args:
        split: its factors are known.
        factors: name -> number of values.
        changed: `config.data.pairs`.
        seed: `config.data.seed`.

    Raises:
        ConfigError: the factors are not known, too few to differ in so many and agree in one, or the pictures are less
            than half of all combinations, so that few have a partner.
    """
    varying = [i for i, count in enumerate(factors.values()) if count > 1]
    if split.factors is None or len(varying) < 2:
        raise ConfigError(
            f"data.pairs={changed} needs data whose factors are known, such as sprites or dsprites; leave it unset"
        )
    if changed >= len(varying):
        raise ConfigError(
            f"data.pairs={changed} leaves partners no factor in common; expected at most {len(varying) - 1}, for the "
            f"factors {', '.join(factors)}"
        )
    counts = np.array(list(factors.values()), np.int32)[varying]
    if math.prod(counts.tolist()) > 2 * len(split.factors):
        raise ConfigError(
            f"data.pairs={changed} needs pictures of most combinations of factors, and the {len(split.factors)} of the "
            f"training split are less than half of {math.prod(counts.tolist())}; leave it unset"
        )
    strides = (counts.prod() // np.cumprod(counts)).astype(np.int32)
    number = (split.factors[:, varying] * strides).sum(-1, dtype=np.int32)
    example = np.full(counts.prod(), -1, np.int32)
    example[number] = np.arange(len(number))
    return Pairs(number, example, counts, strides, np.int32(changed), np.array([seed], np.uint32))


def _mixed(words: Any) -> Any:
    """Return other words, of which each bit depends on every bit: what ends MurmurHash3 (Appleby 2011)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words = (words ^ (words >> np.uint32(shift))) * np.uint32(factor)
    return words ^ (words >> np.uint32(16))
