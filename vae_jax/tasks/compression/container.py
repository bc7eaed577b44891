"""The file that losslessly coded pictures are kept in.

    8 bytes   mark
    2 bytes   version of the format, 4 bytes length of the header, 8 bytes length of the payload; little-endian
    header    JSON, deflated
    payload   the words of the stack
    32 bytes  SHA-256 of all that stands before

The header says how many pictures of which shape there are, where they came from, with which model, grid and batches
they were coded, and gives SHA-256 of the model, of the floats of its network (`bits_back.probe`) and of the pictures.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import struct
import zlib
from typing import Any

from vae_jax.errors import DataError
from vae_jax.training.folder import replacing

VERSION = 1
_MARK = b"\x89VJX\r\n\x1a\n"  # as that of PNG: a file that was copied as text is found out
_LENGTHS = struct.Struct("<HIQ")
_SHA = 32


def pack(header: dict[str, Any], payload: bytes) -> bytes:
    """Return the bytes of a file."""
    text = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    body = _MARK + _LENGTHS.pack(VERSION, len(text), len(payload)) + text + payload
    return body + hashlib.sha256(body).digest()


def unpack(content: bytes, name: str) -> tuple[dict[str, Any], bytes]:
    """Return the header and the payload of a file that is called `name`.

    Raises:
        DataError: it is something else, of a newer version, cut short or altered.
    """
    start = len(_MARK) + _LENGTHS.size
    if content[: len(_MARK)] != _MARK:
        raise DataError(f"{name} is not a file that compress.py encode has written: its first bytes are others")
    if len(content) < start:
        raise DataError(f"{name} is cut short: it has {len(content)} bytes; get a whole copy")
    version, header_size, payload_size = _LENGTHS.unpack(content[len(_MARK) : start])
    if version > VERSION:
        raise DataError(f"{name} is of version {version} of the format, and this program reads up to {VERSION}: update")
    size = start + header_size + payload_size + _SHA
    if len(content) != size:
        raise DataError(f"{name} has {len(content)} bytes where {size} are meant: it is cut short or altered")
    if hashlib.sha256(content[:-_SHA]).digest() != content[-_SHA:]:
        raise DataError(f"{name} is altered: its SHA-256 is not the one that it bears; get another copy")
    return json.loads(zlib.decompress(content[start : start + header_size])), content[start + header_size : -_SHA]


def read(path: pathlib.Path) -> tuple[dict[str, Any], bytes]:
    """Return the header and the payload of a file.

    Raises:
        DataError: see `unpack`; or it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return unpack(content, str(path))


def write(path: pathlib.Path, content: bytes) -> None:
    """Write a file as a whole or not at all.

    Raises:
        StorageError: the disk is full or gone.
    """
    with replacing(path) as part:
        part.write_bytes(content)
