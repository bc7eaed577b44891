"""What data there are, and what is in a set, as lines of text."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import numpy as np

from vae_jax.build import components
from vae_jax.data.cache import blocks, default_cache_dir
from vae_jax.data.dataset import Dataset, sha256


def listing() -> list[str]:
    """Return a line for every source, and one for what the cache holds."""
    lines = []
    for name, found in components("data.sources").items():
        lines.append(
            f"{name:16}{getattr(importlib.import_module(found.module), found.function).__doc__.splitlines()[0]}"
        )
    folder = default_cache_dir() / "data"
    ready = sorted(path.parent.name for path in folder.glob("*/meta.json"))
    return [*lines, "", f"prepared in {folder}: {', '.join(ready) or 'none'}"]


def summary(dataset: Dataset, counts: bool) -> list[str]:
    """Return what a set is, its sizes and its SHA-256; with `counts` also value ranges and classes by split."""
    height, width, channels = dataset.shape
    lines = [
        f"{dataset.name}: {dataset.origin}",
        f"pictures: {height}x{width}x{channels}, {dataset.splits['train'].images.dtype}, white is {dataset.levels}",
        "sizes: " + ", ".join(f"{split} {size}" for split, size in dataset.sizes.items()),
        f"classes: {dataset.num_classes or 'none'}",
    ]
    if dataset.factors:
        lines.append("factors: " + ", ".join(f"{name} ({count})" for name, count in dataset.factors.items()))
    if counts:
        lines += _counts(dataset)
    if dataset.skipped:
        lines += [f"skipped: {len(dataset.skipped)}", *dataset.skipped]
    return [*lines, f"sha256: {sha256(dataset)}"]


def _counts(dataset: Dataset) -> Iterator[str]:
    for name, (images, labels, _) in dataset.splits.items():
        low, high = zip(*((block.min(), block.max()) for block in blocks(images)), strict=True)
        line = f"{name}: values {min(low):g}..{max(high):g}"
        if labels is not None:
            per_class = np.bincount(labels, minlength=dataset.num_classes)
            few = per_class if len(per_class) <= 20 else [f"{per_class.min()} to {per_class.max()}"]
            line += "; pictures by class: " + " ".join(map(str, few))
        yield line
