"""The pictures that are compressed without loss: an array in a file, or a folder of picture files."""

from __future__ import annotations

import io
import pathlib
import shutil
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from vae_jax.data.limits import check_archive, check_regular
from vae_jax.data.pictures import open_picture, picture_files
from vae_jax.errors import ConfigError, DataError, OutputError, StorageError
from vae_jax.tasks.compression.container import write

ARRAYS = (".npy", ".npz")


class Originals(NamedTuple):
    """Pictures as they are to come back."""

    images: np.ndarray  # [N,H,W,C] uint8
    labels: np.ndarray | None  # [N] int32
    channel_axis: bool = True  # whether the array that they came from had one
    names: tuple[str, ...] | None = None  # of files, relative to their folder, with `/`


def read_originals(path: pathlib.Path, shape: Sequence[int]) -> Originals:
    """Read pictures of a model's shape [H,W,C], to be reproduced exactly.

    Args:
        path: a .npy file with uint8 [N,H,W] or [N,H,W,C] (and labels in NAME_labels.npy beside it), a .npz file with
            `images` (and `labels`), or a folder of picture files, of which the decoded pixels are what counts.
        shape: H, W, C.

    Raises:
        DataError: there is nothing there, it cannot be read, or has another shape or type.
    """
    if path.is_dir():
        return _read_folder(path, tuple(shape))
    if path.suffix.lower() not in ARRAYS:
        kind = "no such file or folder" if not path.exists() else "neither a folder nor a .npy or .npz file"
        raise DataError(f"{path}: {kind}; give an array file or a folder of pictures")
    images, labels = _read_array(path)
    if images.dtype != np.uint8:
        raise DataError(f"{path} holds {images.dtype}, and pixels of 0..255 as uint8 are needed; convert it first")
    channel_axis = images.ndim == 4
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[1:] != tuple(shape):
        raise DataError(f"{path} has the shape {images.shape}, and this model takes [N,H,W,C] with {tuple(shape)}")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise DataError(f"{path}: labels must be {len(images)} whole numbers, one for each picture")
    if labels is not None and not all(0 <= int(label) < 2**31 for label in labels):
        raise DataError(f"{path}: labels must be whole numbers of 0 or more, below {2**31}")
    return Originals(images, None if labels is None else labels.astype(np.int32), channel_axis)


def check_target(out: pathlib.Path, names: Sequence[str] | None) -> None:
    """Check that pictures can be written to `out`: a .npy or .npz file, or, where they have names, a new folder.

    Raises:
        ConfigError: an array is to go to something else.
        DataError: a name leads out of the folder.
        OutputError: the folder is there and not empty, or lies in none.
    """
    for name in map(pathlib.PurePosixPath, names or ()):
        if name.is_absolute() or ".." in name.parts:
            raise DataError(f"the file names a picture {name}, which lies outside of --out; do not trust it")
    if out.suffix.lower() not in ARRAYS:
        if names is None:
            raise ConfigError(f"--out={out} must end in .npy or .npz: an array was encoded")
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise OutputError(f"--out={out} exists and is not an empty folder")
    if not out.resolve().parent.is_dir():
        raise OutputError(f"--out={out} cannot be written: {out.parent} is no folder")


def write_originals(out: pathlib.Path, originals: Originals) -> None:
    """Write pictures back, as a whole or not at all: an array, or PNG files under their old names.

    A file whose name does not end in .png gets that added to it.

    Raises:
        StorageError: the disk is full or gone.
    """
    images = originals.images if originals.channel_axis else originals.images[..., 0]
    if out.suffix.lower() == ".npz":
        labels = {} if originals.labels is None else {"labels": originals.labels}
        write(out, _bytes_of(np.savez, images=images, **labels))
    elif out.suffix.lower() == ".npy":
        write(out, _bytes_of(np.save, images))
    else:
        _write_folder(out, originals)


def _bytes_of(save, *arrays, **named) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


def _read_array(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray | None]:
    beside = path.with_name(f"{path.stem}_labels.npy")
    for file in path, beside:
        check_regular(file)
    if path.suffix.lower() == ".npz":
        check_archive(path)
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if path.suffix.lower() == ".npz":
                arrays = {name: found[name] for name in found.files}
            else:
                arrays = {"images": found} | ({"labels": np.load(beside)} if beside.is_file() else {})
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:  # a damaged file raises at least eight kinds
        raise DataError(f"{path} cannot be read as an array: {error or type(error).__name__}") from error
    if other := next((name for name, found in arrays.items() if not isinstance(found, np.ndarray)), None):
        raise DataError(f"{path if other == 'images' else beside} is an archive of arrays; its name must end in .npz")
    if "images" not in arrays:
        raise DataError(f"{path} holds no array 'images', only: {', '.join(arrays) or 'nothing'}")
    return arrays["images"], arrays.get("labels")


def _read_folder(path: pathlib.Path, shape: tuple[int, ...]) -> Originals:
    files = picture_files(path)
    names = tuple(file.relative_to(path).as_posix() for file in files)
    written = [_png(name) for name in names]
    if twice := next((name for name in written if written.count(name) > 1), None):
        raise DataError(f"two files of {path} would both come back as {twice}; rename one")
    images = []
    for file in files:
        pixels = np.atleast_3d(np.asarray(open_picture(file)))
        _refuse_lossy(file)
        if pixels.shape != shape:
            raise DataError(f"{file} has the shape {pixels.shape}, and this model takes {shape}")
        images.append(pixels)
    return Originals(np.stack(images), None, True, names)


def _refuse_lossy(file: pathlib.Path) -> None:
    """Refuse a picture of which something is lost when it is read: what comes back would not be the same."""
    with Image.open(file) as opened:
        if opened.mode not in ("1", "L", "P", "RGB") or "transparency" in opened.info or _bits(file, opened) > 8:
            raise DataError(
                f"{file} has more than 8 bits a value, transparency or other colours than RGB (mode {opened.mode!r}), "
                "which would be lost; save it as 8-bit gray or RGB, or encode an array"
            )


def _bits(file: pathlib.Path, opened: Image.Image) -> int:
    """Return how many bits the values in the file have, of which Pillow keeps 8 where there are three of them."""
    if opened.format == "PNG":
        return file.read_bytes()[24]  # of the header
    if opened.format == "TIFF":
        return max(opened.tag_v2.get(258, (1,)))
    if opened.format == "JPEG2000":
        content = file.read_bytes()
        return 1 + (content[content.index(b"\xff\x51") + 40] & 127)  # of the first component in the segment SIZ
    if opened.format == "PPM":  # the tile has the largest value there may be
        return max((v.bit_length() for v in opened.tile[0].args if isinstance(v, int)), default=8)
    return 8


def _write_folder(out: pathlib.Path, originals: Originals) -> None:
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, image in zip(originals.names, originals.images, strict=True):
            file = part / _png(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file)
        part.replace(out)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise StorageError(f"writing {out} failed: {error.strerror}") from error


def _png(name: str) -> str:
    return name if name.lower().endswith(".png") else f"{name}.png"
