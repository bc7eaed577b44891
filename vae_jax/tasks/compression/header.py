"""What the header of a file of coded pictures may say, checked before anything is allocated or coded."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vae_jax.data.limits import limit
from vae_jax.errors import DataError

_PICTURES_PER_BYTE = 64  # at the most, of a file that a model has coded: none codes a picture in an eighth of a bit
_FEW = 1000  # pictures, which may have any size

_SIDE, _COUNT = 1 << 16, 1 << 31


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value)


_COMMON: dict[str, Callable[[Any], bool]] = {
    "count": _whole(0, _COUNT),
    "shape": lambda value: isinstance(value, list) and len(value) == 3 and all(map(_whole(1, _SIDE), value)),
    "dtype": lambda value: value == "uint8",
    "channel_axis": lambda value: isinstance(value, bool),
    "names": lambda value: value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value)),
    "labels": lambda value: isinstance(value, bool),
    "model_sha256": _sha256,
    "pictures_sha256": _sha256,
}
_OF_MODELS: dict[str, Callable[[Any], bool]] = {
    "unit": lambda value: value in (1, 255),
    "step_bits": _whole(1, 16),
    "limit": _whole(1, 1000),
    "batch_size": _whole(1, _COUNT),
    "batches": lambda value: isinstance(value, list) and all(map(_whole(1, _COUNT), value)),
    "initial_words": _whole(0, _COUNT),
    "software": lambda value: isinstance(value, str) and value.isprintable(),
    "probe_sha256": _sha256,
}


def plausible(count: int, num_bytes: int) -> bool:
    """Return whether a model may have coded `count` pictures in so many bytes."""
    return count <= _FEW + _PICTURES_PER_BYTE * num_bytes


def check_header(header: Any, num_bytes: int, name: str) -> None:
    """Check the header of a file called `name` with a payload of `num_bytes`.

    Raises:
        DataError: naming the first field that no file of ours has so.
    """
    if not isinstance(header, dict):
        raise DataError(f"{name} is damaged: its header is no list of fields")
    stored = header.get("stored", "model")
    fields = _COMMON | ({} if stored == "raw" else _OF_MODELS)
    wrong = [field for field, allowed in fields.items() if field not in header or not allowed(header[field])]
    wrong += [] if stored in ("raw", "model") else ["stored"]
    wrong = wrong or _contradictions(header, num_bytes, stored)
    if wrong:
        text = repr(header.get(wrong[0]))[:60].encode("ascii", "backslashreplace").decode()
        raise DataError(f"{name} is damaged, or not of compress.py encode: its header says {wrong[0]} = {text}")
    if header["count"] * math.prod(header["shape"]) > 1e9 * limit("VAE_JAX_MAX_GB"):
        raise DataError(
            f"{name} claims to hold {header['count']} pictures of {header['shape']}, more than "
            f"{limit('VAE_JAX_MAX_GB'):g} GB; for more, set the environment variable VAE_JAX_MAX_GB"
        )


def check_names(names: Sequence[str], count: int) -> bool:
    """Return whether these can be the names of so many files, all of them inside a folder and none twice."""
    paths = {pathlib.PurePosixPath(name) for name in names}
    folders = {parent for path in paths for parent in path.parents}
    return (
        len(names) == count == len(paths)
        and {str(path) for path in paths} == set(names)
        and all(name.isprintable() and "\\" not in name for name in names)
        and not any(path.is_absolute() or ".." in path.parts or not path.name for path in paths)
        and not folders & paths
    )


def _contradictions(header: Mapping[str, Any], num_bytes: int, stored: str) -> list[str]:
    """Return fields that do not go together with others or with the length of the payload."""
    count, size = header["count"], math.prod(header["shape"])
    if header["names"] is not None and not check_names(header["names"], count):
        return ["names"]
    if stored == "raw":
        return [] if num_bytes == count * (size + 4 * header["labels"]) else ["count"]
    if num_bytes % 4 or not plausible(count, num_bytes):
        return ["count"]
    if sum(header["batches"]) != count or max(header["batches"], default=0) > header["batch_size"]:
        return ["batches"]
    if header["batch_size"] > max(count, 1):
        return ["batch_size"]
    return [] if header["initial_words"] <= num_bytes else ["initial_words"]
