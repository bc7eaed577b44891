"""The files in which a data set was published: found in a folder or downloaded, and compared with their SHA-256."""

from __future__ import annotations

import csv
import gzip
import hashlib
import pathlib
import socket
import threading
import urllib.parse
import urllib.request
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from vae_jax.data.cache import Place
from vae_jax.errors import DataError

_PROBE_SECONDS = 1.5  # to find out whether there is a network at all
_STALL_SECONDS = 30  # a server that sends nothing for so long has gone


class Original(NamedTuple):
    """A published file, a row of originals.csv.

    A file may lie in a folder packed or unpacked, however it was published, if the SHA-256 of its content is known.
    """

    url: str
    sha256: str  # of the file as published; empty where its publisher gives none: then its content is checked
    content_sha256: str  # of what is in a .gz, or of the file itself; may be empty

    @property
    def name(self) -> str:
        """File name."""
        return self.url.rpartition("/")[2]

    @property
    def twin(self) -> str:
        """The name of the same content, unpacked if it was published packed, and the other way round."""
        return self.name.removesuffix(".gz") if self.name.endswith(".gz") else f"{self.name}.gz"


def originals_of(dataset: str) -> list[Original]:
    """Return the published files of a set in the order of originals.csv."""
    with open(pathlib.Path(__file__).with_suffix(".csv"), newline="") as table:
        return [Original(*rest) for name, *rest in csv.reader(table) if name == dataset]


def locate(place: Place, dataset: str, originals: Sequence[Original]) -> list[pathlib.Path]:
    """Return the path of every original, in order; what is in no folder is downloaded.

    Raises:
        DataError: a file has another content, or is nowhere and cannot be downloaded; says what to type.
    """
    downloads = place.cache_dir / "downloads" / dataset
    if place.data_dir and not place.data_dir.is_dir():
        raise DataError(f"--data_dir={place.data_dir} is not a folder")
    given = [place.data_dir / dataset, place.data_dir] if place.data_dir else []
    found = {original: _find([*given, downloads], original) for original in originals}
    for original, path in found.items():
        if path:
            _check(path, original)
    missing = [original for original, path in found.items() if path is None]
    if missing and not reachable(missing[0].url):
        raise DataError(_how_to_get(place, dataset, originals, missing[0]))
    for original in missing:
        found[original] = _download(place, original, downloads)
    return list(found.values())


def contents(path: pathlib.Path) -> bytes:
    """Return the content of a file, unpacked if its name ends in .gz.

    Raises:
        DataError: it is damaged or cannot be read.
    """
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read, it is damaged or incomplete: {error}") from error


def _find(folders: Sequence[pathlib.Path], original: Original) -> pathlib.Path | None:
    names = [original.name, original.twin] if original.content_sha256 else [original.name]
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _check(path: pathlib.Path, original: Original) -> None:
    published = path.name == original.name
    expected = original.sha256 if published else original.content_sha256
    try:
        found = hashlib.sha256(path.read_bytes() if published else contents(path)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if expected and found != expected:
        what = "it" if published else "its content"
        raise DataError(
            f"{path} is not the published file, or is damaged: {what} has SHA-256 {found[:12]}..., expected "
            f"{expected[:12]}...; get it again from {original.url}, or read arrays of your own with data.name=npz"
        )


def reachable(url: str) -> bool:
    """Tell within _PROBE_SECONDS whether a connection to the server, or the proxy before it, can be opened.

    It runs in a thread because nothing puts a limit on looking up a name.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    peer = urllib.parse.urlsplit(urllib.request.getproxies().get(scheme, url))
    opened = threading.Event()

    def probe() -> None:
        try:
            port = peer.port or (443 if peer.scheme == "https" else 80)
            socket.create_connection((peer.hostname, port), _PROBE_SECONDS).close()
            opened.set()
        except OSError:
            pass

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return opened.is_set()


def _download(place: Place, original: Original, folder: pathlib.Path) -> pathlib.Path:
    import pooch

    pooch.get_logger().setLevel("ERROR")
    place.say(f"downloading {original.url}")
    known = f"sha256:{original.sha256}" if original.sha256 else None
    fetch = pooch.HTTPDownloader(timeout=_STALL_SECONDS)
    try:  # pooch writes beside the file, compares the SHA-256 and renames
        return pathlib.Path(pooch.retrieve(original.url, known, original.name, folder, downloader=fetch))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"downloading {original.url} failed: {reason}") from error


def _how_to_get(place: Place, dataset: str, originals: Sequence[Original], missing: Original) -> str:
    urls = " ".join(original.url for original in originals)
    where = place.data_dir or "DATA"
    host = urllib.parse.urlsplit(missing.url).hostname
    searched = f"is not in {place.data_dir}" if place.data_dir else "is not here: no --data_dir or VAE_JAX_DATA_DIR"
    return (
        f"data {dataset!r}: {missing.name} {searched}, and {host} cannot be reached; where there is internet, type "
        f"`wget -P {where}/{dataset} {urls}`, then give --data_dir={where}"
    )
