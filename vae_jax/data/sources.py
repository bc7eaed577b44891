"""Where pictures come from. Each public function is a value of `config.data.name`; `folder` is `--data_dir`."""

from __future__ import annotations

import gzip
import importlib.util
import math
import pathlib
import struct
import zipfile
import zlib

import numpy as np

from vae_jax.data.dataset import Dataset, Split
from vae_jax.data.order import permutation
from vae_jax.errors import DataError


def digits(folder: pathlib.Path | None) -> Dataset:
    """Load the 1797 handwritten digits of 8x8 pixels in 0..16 that scikit-learn ships (UCI, Alpaydin and Kaynak 1998).

    There is no published split: a fixed permutation gives 1297 / 250 / 250. `folder` is not used.
    """
    del folder
    # The file is read directly: importing sklearn.datasets takes a second that a run does not need.
    package = importlib.util.find_spec("sklearn").submodule_search_locations[0]
    table = np.loadtxt(pathlib.Path(package, "datasets", "data", "digits.csv.gz"), delimiter=",", dtype=np.uint8)
    table = table[permutation(1797, 0, len(table))]
    images, labels = table[:, :-1].reshape(-1, 8, 8, 1), table[:, -1].astype(np.int32)
    parts = {"train": slice(0, 1297), "validation": slice(1297, 1547), "test": slice(1547, None)}
    splits = {name: Split(images[part], labels[part]) for name, part in parts.items()}
    return Dataset("digits", splits, 16, 10, "scikit-learn's digits (UCI), split 1297/250/250 by a fixed permutation")


def mnist(folder: pathlib.Path | None) -> Dataset:
    """Read MNIST's four IDX files: the last 10000 training pictures are the validation split."""
    return _idx(folder, "mnist", "MNIST, the original IDX files; validation is the last 10000 of train")


def fashion_mnist(folder: pathlib.Path | None) -> Dataset:
    """Read Fashion-MNIST's four IDX files: the last 10000 training pictures are the validation split."""
    return _idx(folder, "fashion_mnist", "Fashion-MNIST, the original IDX files; validation is the last 10000 of train")


def binarized_mnist(folder: pathlib.Path | None) -> Dataset:
    """Read Larochelle's static binarization of MNIST: 50000 / 10000 / 10000 pictures of 0 and 1, without labels."""
    where = _home(folder, "binarized_mnist")
    splits = {}
    for split, stem, count in ("train", "train", 50000), ("validation", "valid", 10000), ("test", "test", 10000):
        path = _find(where, f"binarized_mnist_{stem}.amat", "binarized_mnist")
        bits = np.frombuffer(_contents(path).translate(None, b" \r\n"), np.uint8) - ord("0")
        if bits.size != count * 784 or bits.max() > 1:
            raise DataError(f"{path}: {bits.size} digits, expected {count} rows of 784, each 0 or 1")
        splits[split] = Split(bits.reshape(count, 28, 28, 1))
    return Dataset("binarized_mnist", splits, 1, 0, "static binarized MNIST (Larochelle), the published splits")


def npz(folder: pathlib.Path | None) -> Dataset:
    """Read your own arrays: train.npz, validation.npz and test.npz in the folder.

    Each holds `images` ([N,H,W] or [N,H,W,C]; float in [0, 1], or uint8 in 0..255 or, in all three files, 0..1) and
    optionally `labels` ([N], whole numbers from 0).
    """
    where = _home(folder, "npz")
    splits = {name: _read_npz(_find(where, f"{name}.npz", "npz")) for name in ("train", "validation", "test")}
    labels = [split.labels for split in splits.values()]
    if any(x is None for x in labels):
        splits, num_classes = {name: Split(split.images) for name, split in splits.items()}, 0
    else:
        num_classes = 1 + max(int(x.max(initial=0)) for x in labels)
    whole = splits["train"].images.dtype == np.uint8
    levels = 255 if whole and max(split.images.max(initial=0) for split in splits.values()) > 1 else 1
    return Dataset("npz", splits, levels, num_classes, f"arrays of the folder {where.name}")


def _idx(folder: pathlib.Path | None, name: str, origin: str) -> Dataset:
    where = _home(folder, name)
    parts = {
        (stem, kind): _read_idx(_find(where, f"{stem}-{kind}-ubyte", name), int(kind[-1]))
        for stem in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    }
    images, labels = parts["train", "images-idx3"][..., None], parts["train", "labels-idx1"].astype(np.int32)
    test = Split(parts["t10k", "images-idx3"][..., None], parts["t10k", "labels-idx1"].astype(np.int32))
    cut = len(images) - 10000
    if cut < 1:
        raise DataError(f"data {name!r}: {len(images)} training pictures, expected more than the 10000 of validation")
    splits = {"train": Split(images[:cut], labels[:cut]), "validation": Split(images[cut:], labels[cut:]), "test": test}
    return Dataset(name, splits, 255, 10, origin)


def _home(folder: pathlib.Path | None, name: str) -> pathlib.Path:
    if folder is None:
        raise DataError(f"data {name!r} needs a folder: give --data_dir=FOLDER or set VAE_JAX_DATA_DIR")
    if not folder.is_dir():
        raise DataError(f"--data_dir={folder} is not a folder")
    return folder / name if (folder / name).is_dir() else folder


def _find(where: pathlib.Path, stem: str, name: str) -> pathlib.Path:
    for candidate in (where / stem, where / f"{stem}.gz"):
        if candidate.is_file():
            return candidate
    gz = "" if stem.endswith(".npz") else "[.gz]"
    raise DataError(f"data {name!r}: no {stem}{gz} in {where}; put the original files there or give another --data_dir")


def _contents(path: pathlib.Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read, it is damaged or incomplete: {error}") from error


def _read_idx(path: pathlib.Path, num_dims: int) -> np.ndarray:
    """Decode the IDX format: two zero bytes, type 8 (uint8), the number of dimensions, their sizes, the data."""
    raw, start = _contents(path), 4 + 4 * num_dims
    if len(raw) < start or raw[:4] != bytes([0, 0, 8, num_dims]):
        raise DataError(f"{path} is not an IDX file of bytes in {num_dims} dimensions")
    shape = struct.unpack_from(f">{num_dims}I", raw, 4)
    if len(raw) - start != math.prod(shape):
        raise DataError(f"{path}: {len(raw) - start} values, but its header promises {'x'.join(map(str, shape))}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _read_npz(path: pathlib.Path) -> Split:
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} cannot be read as .npz: it is damaged, or was not written by numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # a damaged archive raises at least eight kinds
        raise DataError(f"{path} cannot be read as .npz: {error or type(error).__name__}") from error
    if not isinstance(found.get("images"), np.ndarray):
        raise DataError(f"{path} holds no array 'images', only: {', '.join(found) or 'nothing'}")
    images, labels = found["images"], found.get("labels")
    if images.ndim == 3:
        images = images[..., None]
    if np.issubdtype(images.dtype, np.floating):
        with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused as such
            images = images.astype(np.float32)
    if labels is not None:
        whole = isinstance(labels, np.ndarray) and np.issubdtype(labels.dtype, np.integer)
        if not whole or labels.ndim != 1 or ((labels < 0) | (labels >= 2**31 - 1)).any():
            raise DataError(f"{path}: 'labels' must be whole numbers from 0, one per image")
        labels = labels.astype(np.int32)
    return Split(images, labels)
