"""Similarity search: pictures whose codes are near that of a query, and how often they show the same."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vae_jax.errors import ConfigError
from vae_jax.evaluation.retrieval import Index, Neighbours, make_index, precision_at, recall, without_self
from vae_jax.evaluation.splits import standard_error
from vae_jax.reporting.figures import save_captioned
from vae_jax.storage import subfolder
from vae_jax.tasks.gallery import Gallery, open_index, training_pictures
from vae_jax.tasks.representations import check_searchable, reader, represent
from vae_jax.tasks.saved import Saved

_RANKS = (1, 5, 10, 50)  # k of precision at k
_RECALL = 10  # neighbours that an approximate search is to find
_SHOWN, _NEIGHBOURS = 10, 10  # queries of the test split in the picture, and neighbours of each
_NAME = 16  # characters of a file's name in a caption


def describe(found: Neighbours, gallery: Gallery) -> list[list[dict[str, Any]]]:
    """Return, for each query, what is known of each neighbour, with its distance."""
    return [
        [gallery.about(int(i)) | {"distance": float(d)} for d, i in zip(distances, index, strict=True)]
        for distances, index in zip(*found, strict=True)
    ]


def save_neighbours(
    path: pathlib.Path, queries: np.ndarray, names: Sequence[str], found: Neighbours, gallery: Gallery
) -> None:
    """Write a picture with a row for each query [Q,H,W,C]: itself with its name, then its neighbours, nearest first.

    A neighbour's caption is its label, or its file's name, and its distance.
    """
    pictures, captions = [], []
    for query, name, index, about in zip(queries, names, found.index, describe(found, gallery), strict=True):
        pictures += [query[None], gallery.read(index)]
        captions.append(name)
        for one in about:
            what = pathlib.PurePath(one["path"]).name[-_NAME:] if "path" in one else one.get("label", one["index"])
            captions.append(f"{what}: {one['distance']:.3g}")
    save_captioned(path, np.concatenate(pictures), captions, found.index.shape[1] + 1)


def evaluate(saved: Saved, say: Callable[[str], None]) -> dict[str, Any]:
    """Return how well codes find pictures of the same label, and write a picture of some test queries.

    Precision at k is measured with the test pictures as queries, among the training pictures and, each left out in
    turn, among the test pictures themselves; in the latent space, in pixels and in as many principal components as
    there are latents; ± over the queries. Nothing is fitted to the test split.

    Raises:
        ConfigError: the data have no labels, or the model is conditional.
    """
    if saved.dataset.num_classes < 2:
        raise ConfigError(f"--evaluate counts labels, and data {saved.dataset.name!r} have no two; use --query")
    check_searchable(saved.trained)
    gallery = training_pictures(saved)
    exact, approximate = open_index(saved.folder, saved.trained, gallery, say)
    splits = represent(saved, ("train", "test"), {"train": exact.vectors})
    train, test = splits["train"], splits["test"]
    results: dict[str, Any] = {"num_gallery": len(train.chosen), "num_queries": len(test.chosen)}
    for name, queries in test.vectors.items():
        among = make_index(train.vectors[name]).search(queries, _RANKS[-1])
        within = without_self(make_index(queries).search(queries, _RANKS[-1] + 1))
        results[name] = {
            "size": queries.shape[1],
            **_precision("among_train", train.labels[among.index], test.labels),
            **_precision("within_test", test.labels[within.index], test.labels),
        }
    queries = test.vectors["latent"]
    results["approximate"] = _compared(exact, approximate, queries)
    shown = np.unique(test.labels, return_index=True)[1][:_SHOWN]
    names = [f"test {i}: {label}" for i, label in zip(test.chosen[shown], test.labels[shown], strict=True)]
    subfolder(saved.folder / "pictures")
    path, pictures = saved.folder / "pictures" / "search.png", reader(saved, "test")(test.chosen[shown])
    save_neighbours(path, pictures, names, exact.search(queries[shown], _NEIGHBOURS), gallery)
    return results


def _precision(name: str, found: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    figures = {}
    for k, values in precision_at([k for k in _RANKS if k <= found.shape[1]], found, labels).items():
        figures[f"precision_at_{k}_{name}"] = float(values.mean())
        figures[f"precision_at_{k}_{name}_standard_error"] = standard_error(values)
    return figures


def _compared(exact: Index, approximate: Index, queries: np.ndarray) -> dict[str, Any]:
    """Return which share of the exact neighbours an approximate search finds, and how much quicker it is."""
    found = recall(approximate.search(queries, _RECALL).index, exact.search(queries, _RECALL).index)
    times = [min(_seconds(index, queries) for _ in range(3)) for index in (exact, approximate)]
    return {
        "recall": float(found.mean()),
        "recall_standard_error": standard_error(found),
        "num_neighbours": _RECALL,
        "num_gallery": len(exact.vectors),
        "times_faster": times[0] / times[1],
    }


def _seconds(index: Index, queries: np.ndarray) -> float:
    start = time.perf_counter()
    index.engine.search(queries - index.centre, min(_RECALL, len(index.vectors)))
    return time.perf_counter() - start


def summary(results: dict[str, Any]) -> str:
    """Return the figures of `evaluate` as aligned lines."""
    lines = [f"{results['num_queries']} test pictures as queries; precision at k in %, ± standard error"]
    for where in ("among_train", "within_test"):
        ranks = [k for k in _RANKS if f"precision_at_{k}_{where}" in results["latent"]]
        lines.append(f"  {where.replace('_', ' '):<16}" + "".join(f"{f'k={k}':>15}" for k in ranks))
        for name in ("latent", "pixels", "pca"):
            figures, fields = results[name], [f"precision_at_{k}_{where}" for k in ranks]
            cells = [f"{100 * figures[f]:>8.2f} ± {100 * figures[f'{f}_standard_error']:.2f}" for f in fields]
            size = f"{name} [{figures['size']}]"
            lines.append(f"    {size:<14}{''.join(cells)}")
    found = results["approximate"]
    lines.append(
        f"  approximate search finds {100 * found['recall']:.2f} % of the {found['num_neighbours']} exact neighbours, "
        f"{found['times_faster']:.1f} times faster"
    )
    return "\n".join(lines)
