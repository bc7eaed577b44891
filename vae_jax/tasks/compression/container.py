"""The file that losslessly coded pictures are kept in.

    8 bytes   mark
    2 bytes   version of the format, 4 bytes length of the header, 8 bytes length of the payload; little-endian
    header    JSON, deflated
    payload   the words of the stack; or the pixels as they are, and then the labels, where the model codes them worse
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

from vae_jax.data.limits import check_regular
from vae_jax.errors import DataError
from vae_jax.storage import replacing
from vae_jax.tasks.compression.header import check_header

VERSION = 2  # 1 had no pictures that are stored raw
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
        DataError: it is something else, of a newer version, cut short or altered, or its header says what none of ours
            does.
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
    header = _header(content[start : start + header_size], name)
    check_header(header, payload_size, name)
    return header, content[start + header_size : -_SHA]


def _header(packed: bytes, name: str) -> Any:
    """Inflate no more than a header may hold, and read it."""
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(packed, 1_000_000 + 200 * len(packed))
        if not inflate.eof:
            raise ValueError("it is cut short, or far larger than its packed form")
        return json.loads(text)
    except (ValueError, RecursionError, zlib.error) as error:
        raise DataError(f"{name} is damaged: its header cannot be read ({type(error).__name__})") from error


def read(path: pathlib.Path) -> tuple[dict[str, Any], bytes]:
    """Return the header and the payload of a file.

    Raises:
        DataError: see `unpack`; or it cannot be read.
    """
    try:
        check_regular(path)
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
