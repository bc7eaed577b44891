"""Nearest neighbours among vectors, exact and approximate, and how good they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_VISITED = 1 / 8  # of the cells, by an approximate search
_BLOCK = 64e6  # bytes of differences that are held at once


class Neighbours(NamedTuple):
    """The nearest vectors of each query, nearest first; equal distances in the order of the vectors."""

    distance: np.ndarray  # [Q,K] float64, Euclidean
    index: np.ndarray  # [Q,K] int64, rows of the vectors


class Index(NamedTuple):
    """Vectors, and the faiss index that finds the nearest of them."""

    vectors: np.ndarray  # [N,D] float32
    centre: np.ndarray  # [D], subtracted before faiss sees a vector
    engine: Any  # a faiss.Index of vectors - centre

    def search(self, queries: np.ndarray, num: int) -> Neighbours:
        """Return the `num` nearest vectors of queries [Q,D]; fewer where there are not so many.

        An approximate index answers a query exactly where the cells it visits hold too few.
        """
        num = min(num, len(self.vectors))
        queries = np.ascontiguousarray(queries, np.float32)
        index = self.engine.search(queries - self.centre, num)[1]
        short = (index < 0).any(axis=1)
        if short.any():
            index[short] = make_index(self.vectors).engine.search(queries[short] - self.centre, num)[1]
        return self._measured(queries, np.sort(index, axis=1))

    def _measured(self, queries: np.ndarray, index: np.ndarray) -> Neighbours:
        """Order neighbours by distances of full precision.

        Faiss computes |q|^2 - 2 q v + |v|^2 for many queries at once, which loses digits, and differently for a few.
        """
        distance = np.empty(index.shape)
        block = max(1, int(_BLOCK // (8 * index.shape[1] * queries.shape[1])))
        for start in range(0, len(queries), block):
            rows = slice(start, start + block)
            difference = queries[rows, None].astype(np.float64) - self.vectors[index[rows]]
            distance[rows] = np.sqrt(np.square(difference).sum(axis=-1))
        order = np.argsort(distance, axis=1, kind="stable")
        return Neighbours(np.take_along_axis(distance, order, 1), np.take_along_axis(index, order, 1))


def make_index(vectors: np.ndarray, approximate: bool = False) -> Index:
    """Index vectors [N,D] for Euclidean distance.

    Args:
        vectors: of a finite value each.
        approximate: sort them into sqrt(N) cells by k-means and look in the eighth of the cells that is nearest to a
            query (an inverted file: Jegou et al. 2011), instead of at every vector. Unlike a graph, it comes out the
            same however many threads build it.
    """
    import faiss

    vectors = np.ascontiguousarray(vectors, np.float32)
    centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    engine = faiss.IndexFlatL2(vectors.shape[1])
    if approximate:
        cells = max(1, round(math.sqrt(len(vectors))))
        engine = faiss.IndexIVFFlat(engine, vectors.shape[1], cells)
        engine.cp.min_points_per_centroid = 1  # of few vectors the cells are small, and that is no cause for a warning
        engine.nprobe = max(1, math.ceil(cells * _VISITED))
        engine.train(vectors - centre)
    engine.add(vectors - centre)
    return Index(vectors, centre, engine)


def without_self(found: Neighbours) -> Neighbours:
    """Drop query i from its own neighbours, where the queries are the vectors: one column less.

    Where more copies of a query than columns hide it, the last neighbour is dropped.
    """
    keep = found.index != np.arange(len(found.index))[:, None]
    keep[keep.all(axis=1), -1] = False
    shape = len(keep), keep.shape[1] - 1
    return Neighbours(found.distance[keep].reshape(shape), found.index[keep].reshape(shape))


def precision_at(num: Sequence[int], found: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    """Return {k: precision [Q]}: which share of the k nearest has the label of the query.

    Args:
        num: values of k, none above K.
        found: labels [Q,K] of the neighbours, nearest first.
        labels: of the queries, [Q].
    """
    hits = np.cumsum(found == labels[:, None], axis=1)
    return {k: hits[:, k - 1] / k for k in num}


def recall(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return which share of the exact neighbours [Q,K] is among those found [Q,K], for each query [Q]."""
    return (exact[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1)
