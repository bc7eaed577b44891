"""Pictures of tensorflow-datasets' catalog and of the Hugging Face hub, by their name there."""

from __future__ import annotations

import importlib.util
import io
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vae_jax.data.cache import Place
from vae_jax.data.collection import Collection, Rules, assemble, decode_once, stamp
from vae_jax.data.dataset import Dataset
from vae_jax.data.originals import reachable
from vae_jax.data.pictures import open_picture
from vae_jax.data.splitting import VALIDATION
from vae_jax.errors import DataError

_SPLITS = dict.fromkeys(VALIDATION, "validation") | {"train": "train", "test": "test"}


def tfds(
    place: Place,
    *,
    dataset: str,
    size: tuple | None = None,
    fit: str = "crop",
    channels: int | None = None,
    on_error: str = "stop",
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Pictures of `dataset`, a name of tensorflow-datasets such as celeb_a or shapes3d, once it is prepared.

    It is looked for in --data_dir, $TFDS_DATA_DIR and ~/tensorflow_datasets, and read without TensorFlow; preparing one
    needs TensorFlow, the extra [tfds]. A feature `label` is the label; several class features are the factors.

    Args:
        place: where to look.
        dataset: name, or name/config.
        size: as for `folder`, like the rest.
        fit: crop, pad or stretch.
        channels: 1 or 3.
        on_error: stop or skip.
        validation: share of the pictures, where it has no such split.
        test: the same.

    Raises:
        DataError: it is not prepared, or has no pictures; says what to type.
    """
    roots = [place.data_dir, os.environ.get("TFDS_DATA_DIR"), "~/tensorflow_datasets", place.cache_dir / "tfds"]
    folders = [pathlib.Path(root).expanduser() / dataset for root in roots if root]
    found = next((version for folder in folders if (version := _newest(folder))), None)
    found = found or _prepare_with_tensorflow(place, dataset)
    rules = Rules(size, fit, channels, on_error, validation, test)

    def make() -> Dataset:
        parts, factors = _tfds_parts(found)
        return assemble(dataset, parts, rules, f"tensorflow-datasets {dataset} {found.name}", factors)

    files = sorted((file.name, *stamp(file)) for file in found.iterdir() if file.is_file())
    identity = ["tfds", dataset, str(found.resolve()), files, rules]
    return decode_once(place, dataset, identity, make)


def huggingface(
    place: Place,
    *,
    dataset: str,
    subset: str | None = None,
    size: tuple | None = None,
    fit: str = "crop",
    channels: int | None = None,
    on_error: str = "stop",
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Pictures of `dataset`, a name on the Hugging Face hub or a folder that its library saved.

    Needs the extra [huggingface]. The first image column is read, and the first class column is the label.

    Args:
        place: not used: the library keeps its own cache.
        dataset: name such as ylecun/mnist, or a path.
        subset: its configuration, where it has several.
        size: as for `folder`, like the rest.
        fit: crop, pad or stretch.
        channels: 1 or 3.
        on_error: stop or skip.
        validation: share of the pictures, where it has no such split.
        test: the same.

    Raises:
        DataError: the library or the set is not here, or it has no pictures.
    """
    if importlib.util.find_spec("datasets") is None:
        raise DataError("data 'huggingface' needs the package datasets: pip install 'vae_jax[huggingface]'")
    tables = _load_tables(dataset, subset)
    rules = Rules(size, fit, channels, on_error, validation, test)

    def make() -> Dataset:
        parts = {_SPLITS[name]: _table_part(table, f"{dataset}, {name}") for name, table in tables.items()}
        return assemble(dataset, parts, rules, f"Hugging Face dataset {dataset}")

    versions = [(name, len(table), table._fingerprint) for name, table in tables.items()]
    return decode_once(place, dataset, ["huggingface", dataset, subset, versions, rules], make)


def _newest(folder: pathlib.Path) -> pathlib.Path | None:
    versions = [path.parent for path in folder.glob("*/dataset_info.json")]
    return max(versions, key=lambda path: [int(n) if n.isdigit() else 0 for n in path.name.split(".")], default=None)


def _prepare_with_tensorflow(place: Place, dataset: str) -> pathlib.Path:
    """Let tensorflow-datasets download and prepare a set as array_record, which is read without TensorFlow."""
    folder = place.data_dir or place.cache_dir / "tfds"
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{dataset!r} of tensorflow-datasets is not prepared in --data_dir, $TFDS_DATA_DIR or "
            "~/tensorflow_datasets; preparing it needs TensorFlow: pip install 'vae_jax[tfds]', then "
            f"python scripts/data.py prepare tfds --config.data.dataset={dataset}"
        )
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(dataset, data_dir=folder, file_format="array_record")
    except (tensorflow_datasets.core.DatasetNotFoundError, ValueError) as error:
        raise DataError(f"tensorflow-datasets knows no {dataset!r}: {str(error).splitlines()[0]}") from error
    if not reachable("https://storage.googleapis.com"):
        raise DataError(f"{dataset!r} of tensorflow-datasets is not prepared, and there is no network to download it")
    place.say(f"tensorflow-datasets prepares {dataset} in {folder}")
    try:
        builder.download_and_prepare()
    except Exception as error:  # of the network, of checksums, of what is to be downloaded by hand
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"tensorflow-datasets cannot prepare {dataset!r}: {reason}") from error
    return pathlib.Path(builder.data_path)


def _tfds_parts(folder: pathlib.Path) -> tuple[dict[str, Collection], dict[str, int]]:
    """Return the collections by split, and the factors with their numbers of values."""
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(folder)
    # Sorted, because they come in another order in every process.
    features, kinds = dict(sorted(builder.info.features.items())), tensorflow_datasets.features
    image = next((name for name, kind in features.items() if isinstance(kind, kinds.Image)), None)
    image = image or next((name for name, kind in features.items() if _is_picture(kind)), None)
    if image is None:
        raise DataError(f"{folder} holds no pictures, only: {', '.join(features)}")
    classes = {name: kind for name, kind in features.items() if isinstance(kind, kinds.ClassLabel)}
    label = "label" if "label" in classes else next(iter(classes)) if len(classes) == 1 else None
    factors = {name: kind.num_classes for name, kind in classes.items() if name != label}
    raw = {image: tensorflow_datasets.decode.SkipDecoding()} if isinstance(features[image], kinds.Image) else None
    parts = {}
    for name in builder.info.splits:
        if name in _SPLITS:
            try:
                records = builder.as_data_source(name, decoders=raw)
            except NotImplementedError as error:
                raise DataError(
                    f"{folder} is prepared as TFRecord, which only TensorFlow reads; prepare it again with "
                    "file_format='array_record'"
                ) from error
            rows = _rows(records, classes, f"{folder}, {name}", builder.info.splits[name].num_examples)
            names = [f"{folder.parent.name}, {name} record {i}" for i in range(len(rows))]
            for key, kind in classes.items():
                _check_labels([row[key] for row in rows], kind.num_classes, f"{folder}, {name}, {key}")
            values = np.array([[row[key] for key in factors] for row in rows], np.int32) if factors else None
            labels = [classes[label].int2str(row[label]) for row in rows] if label else None
            parts[_SPLITS[name]] = Collection(names, _loader(records, image, names), labels, values)
    if "train" not in parts:
        raise DataError(f"{folder} has no split 'train', only: {', '.join(builder.info.splits)}")
    return parts, factors


def _rows(records: Sequence[Any], keys: Iterable[str], where: str, promised: int) -> list[dict[str, Any]]:
    """Return these columns of all records; a truncated file of records opens as one of none."""
    try:
        if len(records) != promised:
            raise ValueError(f"{len(records)} records, but dataset_info.json promises {promised}")
        rows = [dict(records[i]) for i in range(promised)]
        if any(value is None for row in rows for value in row.values()):
            raise ValueError("it is cut short")
        return [{key: row[key] for key in keys} for row in rows]
    except Exception as error:  # of several kinds, as the damage is
        raise DataError(f"{where} is damaged ({str(error).splitlines()[0]}); prepare it again") from error


def _check_labels(labels: Sequence[int | None], num_classes: int, where: str) -> None:
    """Refuse examples without a label, which have -1, say: names are taken from the end of a list then."""
    for i, label in enumerate(labels):
        if label is None or not 0 <= label < num_classes:
            raise DataError(f"{where}: example {i} has the label {label}, and there are classes 0..{num_classes - 1}")


def _is_picture(feature: Any) -> bool:
    shape = getattr(feature, "shape", ())
    return len(shape) == 3 and shape[-1] in (1, 3) and feature.np_dtype == np.uint8


def _loader(records: Sequence[Any], image: str, names: Sequence[str]) -> Callable[[int], Image.Image]:
    def load(i: int) -> Image.Image:
        value = records[i][image]
        if isinstance(value, bytes):
            return open_picture(io.BytesIO(value), names[i])
        return Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value)

    return load


def _load_tables(dataset: str, subset: str | None) -> dict[str, Any]:
    if not pathlib.Path(dataset).exists() and not reachable("https://huggingface.co"):
        os.environ["HF_HUB_OFFLINE"] = "1"  # use what its cache holds, at once
    import datasets

    datasets.disable_progress_bars()
    saved = any((pathlib.Path(dataset) / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        found = datasets.load_from_disk(dataset) if saved else datasets.load_dataset(dataset, subset)
    except Exception as error:  # the library raises many kinds, from its own to those of the network
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"Hugging Face dataset {dataset!r} cannot be loaded: {reason}") from error
    tables = dict(found) if isinstance(found, dict) else {"train": found}
    tables = {name: table for name, table in tables.items() if name in _SPLITS}
    if "train" not in tables:
        raise DataError(f"Hugging Face dataset {dataset!r} has no split 'train', only: {', '.join(found)}")
    return tables


def _table_part(table: Any, where: str) -> Collection:
    import datasets

    image = next((name for name, kind in table.features.items() if isinstance(kind, datasets.Image)), None)
    label = next((name for name, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    if image is None:
        raise DataError(f"{where} has no column of images, only: {', '.join(table.features)}")
    files = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    names = [f"{where} row {i}" for i in range(len(files))]

    def load(i: int) -> Image.Image:
        cell = files[i][image]
        if cell is None or not (cell["bytes"] or cell["path"]):
            raise DataError(f"{names[i]} has no picture")
        return open_picture(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"], names[i])

    if label is None:
        return Collection(names, load, None)
    kind, labels = table.features[label], table[label]
    _check_labels(labels, kind.num_classes, f"{where}, {label}")
    return Collection(names, load, [kind.int2str(n) for n in labels])
