"""What a file may be and hold before it is read: a file of some bytes can claim any size. Limits can be raised."""

from __future__ import annotations

import math
import os
import pathlib
import stat
import zipfile

import numpy as np

from vae_jax.errors import ConfigError, DataError

_DEFAULTS = {"VAE_JAX_MAX_MEGAPIXELS": 100.0, "VAE_JAX_MAX_GB": 1.0}  # environment variables
_COMPRESSED = 200  # times: an archive that holds so many times its size is believed up to VAE_JAX_MAX_GB


def limit(name: str) -> float:
    """Return a limit: that of the environment, or the default.

    Raises:
        ConfigError: it is no number above 0.
    """
    text = os.environ.get(name)
    if text is None:
        return _DEFAULTS[name]
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ConfigError(f"the environment variable {name}={text} is not allowed: expected a number above 0")
    return value


def check_regular(path: str | pathlib.Path) -> None:
    """Refuse a pipe, a device and the like, which could be read for ever; whether a file is there, reading it tells.

    Raises:
        DataError: it is such a thing.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{path} is no regular file, but a pipe, a socket or a device")


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse a picture that is too large to be decoded.

    Raises:
        DataError: naming the size, and how to raise the limit.
    """
    most = limit("VAE_JAX_MAX_MEGAPIXELS")
    if width * height > 1e6 * most:
        raise DataError(
            f"{name} has {width * height / 1e6:.0f} megapixels, and at most {most:g} are decoded; for more, set the "
            "environment variable VAE_JAX_MAX_MEGAPIXELS"
        )


def check_archive(path: pathlib.Path) -> None:
    """Refuse a .npz that claims to hold far more than its size makes likely; what is damaged, reading it tells.

    Raises:
        DataError: naming the size, and how to raise the limit.
    """
    try:
        claimed, size = _claimed(path), path.stat().st_size
    except Exception:  # a damaged archive raises at least eight kinds
        return
    most = limit("VAE_JAX_MAX_GB")
    if claimed > 1e9 * most and claimed > _COMPRESSED * size:
        raise DataError(
            f"{path} of {size / 1e6:.1f} MB claims to hold {claimed / 1e9:.1f} GB, and of an archive packed so well at "
            f"most {most:g} are read; for more, set the environment variable VAE_JAX_MAX_GB"
        )


def _claimed(path: pathlib.Path) -> int:
    """Return the bytes of all arrays of a .npz, by their headers."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
                total += math.prod(shape) * dtype.itemsize
    return total
