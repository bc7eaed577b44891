"""Your own pictures: a folder of files, or arrays."""

from __future__ import annotations

import mmap
import pathlib
import zipfile
from typing import Any

import numpy as np

from vae_jax.data.cache import Place
from vae_jax.data.collection import Collection, Rules, assemble, decode_once, stamp
from vae_jax.data.dataset import SPLITS, Dataset, Split
from vae_jax.data.limits import check_archive, check_regular
from vae_jax.data.pictures import open_picture, picture_files
from vae_jax.data.splitting import VALIDATION, stratified_parts
from vae_jax.errors import DataError

_SPLIT_NAMES = dict.fromkeys(VALIDATION, "validation") | dict.fromkeys(("train", "training"), "train")


def folder(
    place: Place,
    *,
    size: tuple | None = None,
    fit: str = "crop",
    channels: int | None = None,
    on_error: str = "stop",
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Pictures of --data_dir, in sub-folders by class, by split (train, validation, test), by both or by neither.

    Args:
        place: its data_dir is the folder.
        size: (H, W) or (side,) to bring them to; not needed where all have one size.
        fit: crop, pad or stretch, see `pictures.fitted`.
        channels: 1 for gray, 3 for colour; not needed where all are of one kind.
        on_error: stop, or skip what cannot be read or does not fit; what is skipped is listed in the manifest.
        validation: share of the pictures, where the folder has no such split.
        test: the same.

    Raises:
        DataError: naming the file and the rule that it breaks.
    """
    root = _home(place, None)
    files = picture_files(root)
    rules = Rules(size, fit, channels, on_error, validation, test)
    stats = [(f"{file.relative_to(root)}", *stamp(file)) for file in files]

    def make() -> Dataset:
        return assemble("folder", _parts(root, files), rules, f"pictures of the folder {root.resolve().name}")

    name = f"{len(files)} pictures of {root}"
    return decode_once(place, name, ["folder", str(root.resolve()), rules, stats], make)


def npz(place: Place, *, validation: float = 0.1, test: float = 0.1) -> Dataset:
    """Arrays of --data_dir: train.npz with `images` and, if you have them, `labels`; or train.npy, train_labels.npy.

    Images are [N,H,W] or [N,H,W,C]; float in [0, 1], or uint8 in 0..255 or, in all files, 0..1; labels are [N] whole
    numbers from 0. validation.npz (or val, valid, dev) and test.npz hold the other splits; what is missing is cut from
    train.

    Args:
        place: its data_dir is the folder.
        validation: share of the pictures, where there is no such file.
        test: the same.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    where = _home(place, "npz")
    found = {name: path for name in SPLITS for path in _array_files(where, name)}
    if "train" not in found:
        raise DataError(f"data 'npz': no train.npz or train.npy in {where}; put it there or give another --data_dir")
    parts = {name: _read_npz(path) if path.suffix == ".npz" else _read_npy(path) for name, path in found.items()}
    shares = {name: share for name, share in (("validation", validation), ("test", test)) if name not in parts}
    if shares:
        labels = parts["train"].labels
        index = stratified_parts(["images"] * len(parts["train"].images) if labels is None else labels.tolist(), shares)
        whole = parts["train"]
        parts |= {name: Split(*(c if c is None else c[i] for c in whole[:2])) for name, i in index.items()}
    splits = {name: parts[name] for name in SPLITS}
    if any(split.labels is None for split in splits.values()):
        splits, num_classes = {name: Split(split.images) for name, split in splits.items()}, 0
    else:
        num_classes = 1 + max(int(split.labels.max(initial=0)) for split in splits.values())
    whole_numbers = splits["train"].images.dtype == np.uint8
    levels = 255 if whole_numbers and max(s.images.max(initial=0) for s in splits.values()) > 1 else 1
    cut = f"; {' and '.join(shares)} cut from train by a fixed permutation" if shares else ""
    return Dataset("npz", splits, levels, num_classes, f"arrays of the folder {where.name}{cut}")


def _home(place: Place, inner: str | None) -> pathlib.Path:
    if place.data_dir is None:
        raise DataError(f"data {inner or 'folder'!r} needs a folder: give --data_dir=FOLDER or set VAE_JAX_DATA_DIR")
    if not place.data_dir.is_dir():
        raise DataError(f"--data_dir={place.data_dir} is not a folder")
    return place.data_dir / inner if inner and (place.data_dir / inner).is_dir() else place.data_dir


def _parts(root: pathlib.Path, files: list[pathlib.Path]) -> dict[str, Collection]:
    """Sort files into splits, where the first folder below the root names one, and classes, by the folder below it."""
    tops = {file.relative_to(root).parts[0] for file in files}
    by_split = "train" in {_split_of(top) for top in tops}
    strays = [root / top for top in sorted(tops) if _split_of(top) in SPLITS and (root / top).is_dir()]
    if strays and not by_split:
        raise DataError(f"{strays[0]} is beside no folder 'train'; name that of the training pictures so")
    parts: dict[str, list[tuple[pathlib.Path, str]]] = {}
    for file in files:
        *folders, _ = file.relative_to(root).parts
        split = _split_of(folders[0]) if by_split and folders else "train"
        if by_split and (not folders or split not in SPLITS):
            raise DataError(
                f"{file} lies beside the folder of the training pictures, in no split; move it or remove it"
            )
        inner = folders[1:] if by_split else folders
        parts.setdefault(split, []).append((file, inner[0] if inner else ""))
    classless = {split for split, members in parts.items() if not any(name for _, name in members)}
    for split, members in parts.items():
        stray = next((file for file, name in members if not name), None)
        if split not in classless and stray:
            raise DataError(f"{stray} lies beside the folders of the classes, in none; move it into one or remove it")
    return {
        split: Collection(
            [str(file) for file, _ in members],
            lambda i, members=members: open_picture(members[i][0]),
            None if classless else [name for _, name in members],
        )
        for split, members in parts.items()
    }


def _split_of(name: str) -> str:
    return _SPLIT_NAMES.get(name.lower(), name.lower())


def _array_files(where: pathlib.Path, split: str) -> list[pathlib.Path]:
    names = dict.fromkeys([split, *(name for name, of in _SPLIT_NAMES.items() if of == split)])
    paths = [where / f"{name}.{kind}" for name in names for kind in ("npz", "npy")]
    return [path for path in paths if path.is_file()][:1]


def _read_npz(path: pathlib.Path) -> Split:
    check_regular(path)
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} cannot be read as .npz: it is damaged, or was not written by numpy.savez")
    check_archive(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # a damaged archive raises at least eight kinds
        raise DataError(f"{path} cannot be read as .npz: {error or type(error).__name__}") from error
    if not isinstance(found.get("images"), np.ndarray):
        raise DataError(f"{path} holds no array 'images', only: {', '.join(found) or 'nothing'}")
    return _split(path, found["images"], found.get("labels"))


def _read_npy(path: pathlib.Path) -> Split:
    """Read images, which stay on disk, and labels beside them."""
    labels = path.with_name(f"{path.stem}_labels.npy")
    arrays = []
    for file in [path, labels] if labels.is_file() else [path]:
        check_regular(file)
        try:
            arrays.append(np.load(file, mmap_mode="r", allow_pickle=False).view(Mapped))
        except Exception as error:  # as for .npz
            raise DataError(f"{file} cannot be read as .npy: {error or type(error).__name__}") from error
    return _split(path, arrays[0], arrays[1] if len(arrays) > 1 else None)


class Mapped(np.memmap):
    """An array that stays in its file, for another process too: its copy is a path and a place there, not the data."""

    def __reduce_ex__(self, protocol: int) -> Any:
        """Return how to open it again; what is no longer one piece of the file is copied as it is."""
        if getattr(self, "_mmap", None) is None or not self.flags.c_contiguous:
            return np.asarray(self).__reduce_ex__(protocol)
        begin = self.offset - self.offset % mmap.ALLOCATIONGRANULARITY  # of the file, where the mapping starts
        offset = begin + self.ctypes.data - np.frombuffer(self._mmap, np.uint8).ctypes.data
        return Mapped, (self.filename, self.dtype, "r", offset, self.shape)


def _split(path: pathlib.Path, images: np.ndarray, labels: np.ndarray | None) -> Split:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim == 4 and images.shape[-1] not in (1, 3):
        raise DataError(f"{path}: 'images' of shape {images.shape}, expected the channels last, [N,H,W,C], and 1 or 3")
    if np.issubdtype(images.dtype, np.floating):
        with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused as such
            images = images.astype(np.float32, copy=False)
    if labels is not None:
        whole = isinstance(labels, np.ndarray) and np.issubdtype(labels.dtype, np.integer)
        if not whole or labels.ndim != 1 or ((labels < 0) | (labels >= 2**31 - 1)).any():
            raise DataError(f"{path}: 'labels' must be whole numbers from 0, one per image")
        labels = labels.astype(np.int32)
        if len(labels) != len(images):
            raise DataError(f"{path}: {len(labels)} labels for {len(images)} images")
    return Split(images, labels)
