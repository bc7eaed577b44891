"""The file formats of published data sets, decoded to uint8 arrays."""

from __future__ import annotations

import io
import math
import pathlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from vae_jax.data.dataset import Split
from vae_jax.data.limits import check_archive
from vae_jax.data.originals import contents
from vae_jax.errors import DataError


def read_idx(path: pathlib.Path, num_dims: int) -> np.ndarray:
    """Decode the IDX format: two zero bytes, type 8 (uint8), the number of dimensions, their sizes, the data.

    Raises:
        DataError: another format, or another size than the header promises.
    """
    raw, start = contents(path), 4 + 4 * num_dims
    if len(raw) < start or raw[:4] != bytes([0, 0, 8, num_dims]):
        raise DataError(f"{path} is not an IDX file of bytes in {num_dims} dimensions")
    shape = struct.unpack_from(f">{num_dims}I", raw, 4)
    if len(raw) - start != math.prod(shape):
        raise DataError(f"{path}: {len(raw) - start} values, but its header promises {'x'.join(map(str, shape))}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def read_amat(path: pathlib.Path, side: int) -> np.ndarray:
    """Decode lines of the digits 0 and 1 with spaces between them, one picture [side,side,1] a line.

    Raises:
        DataError: another character, or no whole number of pictures.
    """
    bits = np.frombuffer(contents(path).translate(None, b" \r\n"), np.uint8) - ord("0")
    if bits.size % side**2 or not bits.size or bits.max() > 1:
        raise DataError(f"{path}: {bits.size} digits, expected rows of {side**2}, each 0 or 1")
    return bits.reshape(-1, side, side, 1)


def read_cifar(path: pathlib.Path) -> dict[str, Split]:
    """Decode CIFAR-10's binary archive: records of a label and 32x32 red, green and blue values.

    Raises:
        DataError: it is damaged, or holds other files.
    """
    names = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    try:
        with tarfile.open(path) as archive:
            held = {pathlib.PurePath(m.name).name: archive.extractfile(m).read() for m in archive if m.isfile()}
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as a .tar.gz: {' '.join(str(error).split())}") from error
    splits = {}
    for split, members in names.items():
        if missing := [name for name in members if name not in held]:
            raise DataError(f"{path} holds no {missing[0]}; it must be the binary version of CIFAR-10")
        raw = np.frombuffer(b"".join(held[name] for name in members), np.uint8)
        if not raw.size or raw.size % 3073:
            raise DataError(f"{path}: {split} has {raw.size} bytes, expected records of 3073")
        records = raw.reshape(-1, 3073)
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        splits[split] = Split(np.ascontiguousarray(images), records[:, 0].astype(np.int32))
    return splits


def read_omniglot(paths: list[pathlib.Path], side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode archives of alphabet/character/picture; a picture that stands in two of them counts once.

    Returns images [N,side,side,1], ink 255 on 0, each value the mean over its area of the 105x105 strokes; the number
    of the character [N], in the order of alphabet/character; and the drawer 1..20 of each picture [N].

    Raises:
        DataError: an archive is damaged or has no such pictures.
    """
    pictures: dict[tuple[str, str, str], bytes] = {}
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".png"):
                        pictures[tuple(name.split("/")[-3:])] = archive.read(name)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} cannot be read as a .zip: {error}") from error
    if not pictures:
        raise DataError(f"{paths[0]} holds no pictures")
    keys = sorted(pictures)
    names = sorted({f"{alphabet}/{character}" for alphabet, character, _ in keys})
    number = {name: i for i, name in enumerate(names)}
    images = np.stack([_ink(pictures[key], side) for key in keys])
    labels = np.array([number[f"{alphabet}/{character}"] for alphabet, character, _ in keys], np.int32)
    drawers = np.array([int(pathlib.PurePath(file).stem.split("_")[1]) for *_, file in keys])
    return images, labels, drawers


def _ink(png: bytes, side: int) -> np.ndarray:
    paper = Image.open(io.BytesIO(png)).convert("L").resize((side, side), Image.Resampling.BOX)
    return 255 - np.asarray(paper)[..., None]


def read_dsprites(path: pathlib.Path, factors: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Read dSprites' npz and return its images [N,64,64,1] of 0 and 1, and factors [N,F], last one fastest.

    Its publisher gives no SHA-256, so each picture must have the factors that its place in the grid promises.

    Raises:
        DataError: the file is damaged, or is not the whole grid in order.
    """
    shape = tuple(factors.values())
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as arrays:
            images, latents = arrays["imgs"], arrays["latents_classes"]
    except Exception as error:  # a damaged archive raises at least eight kinds
        raise DataError(f"{path} cannot be read as .npz: {error or type(error).__name__}") from error
    grid = np.stack(np.unravel_index(np.arange(math.prod(shape)), shape), 1).astype(np.int32)
    if images.shape != (len(grid), 64, 64) or images.dtype != np.uint8 or images.max() > 1:
        raise DataError(
            f"{path}: images {images.dtype} {images.shape}, expected 0 and 1 of shape {(len(grid), 64, 64)}"
        )
    if latents.shape != (len(grid), 6) or not np.array_equal(latents[:, 1:], grid):
        raise DataError(f"{path}: its factors are not the grid of {shape} in order")
    return images[..., None], grid
