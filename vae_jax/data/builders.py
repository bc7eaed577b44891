"""Data sets in the form of tensorflow-datasets, written and read without TensorFlow.

Pictures are stored as tensors rather than encoded, in array_record files with integer keys and no shuffling: encoding,
shuffling and TFRecord are what would need TensorFlow. Nothing is extracted by tensorflow-datasets either: it keys what
it extracts by file name, so that two sets with equal names would be mixed up.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vae_jax.data.dataset import Split

_AT_ONCE = 10000  # records read at once
_FEATURES = {"image": "images", "label": "labels", "factors": "factors"}  # as TFDS calls them -> field of Split


def write(
    folder: pathlib.Path, name: str, version: str, description: str, num_classes: int, splits: Mapping[str, Split]
) -> None:
    """Prepare the set `name` under a TFDS data folder, from arrays."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    parts = {split: _columns(content) for split, content in splits.items()}
    first = next(iter(parts.values()))
    features = {k: tfds.features.Tensor(shape=v.shape[1:], dtype=v.dtype) for k, v in first.items()}
    if num_classes:
        features["label"] = tfds.features.ClassLabel(num_classes=num_classes)

    class Arrays(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # or each name could be used once only
        VERSION = tfds.core.Version(version)

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description=description,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager  # the files are found and checked in data/originals.py
            return {split: self._generate_examples(arrays) for split, arrays in parts.items()}

        def _generate_examples(self, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
            for i, row in enumerate(zip(*arrays.values(), strict=True)):
                yield i, dict(zip(arrays, row, strict=True))

    for half_written in folder.glob(f"{name}/incomplete.*"):  # by a process that was killed
        shutil.rmtree(half_written)
    Arrays.name = name
    builder = Arrays(data_dir=folder, file_format="array_record")
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        builder.download_and_prepare()


def read(folder: pathlib.Path, name: str, version: str) -> dict[str, Split]:
    """Return the splits of a set that `write` prepared, as arrays."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder / name / version)
    return {split: _arrays(builder.as_data_source(split)) for split in builder.info.splits}


def _columns(content: Split) -> dict[str, np.ndarray]:
    return {name: column for name, field in _FEATURES.items() if (column := getattr(content, field)) is not None}


def prepared(folder: pathlib.Path, name: str, version: str) -> bool:
    """Tell whether `write` has prepared the set there."""
    return (folder / name / version / "dataset_info.json").is_file()


def _arrays(records: Any) -> Split:
    columns: dict[str, np.ndarray] = {}
    for start in range(0, len(records), _AT_ONCE):
        rows = records.__getitems__(range(start, min(start + _AT_ONCE, len(records))))
        for name, value in rows[0].items():
            if start == 0:
                kind = np.asarray(value).dtype if name == "image" else np.int32
                columns[name] = np.empty((len(records), *np.shape(value)), kind)
            columns[name][start : start + len(rows)] = [row[name] for row in rows]
    return Split(**{_FEATURES[name]: column for name, column in columns.items()})
