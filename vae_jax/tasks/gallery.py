"""Pictures to search in, and the index of their codes, which is kept in the run folder."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.limits import check_archive
from vae_jax.data.pictures import picture_files, read_pictures
from vae_jax.errors import DataError
from vae_jax.evaluation.retrieval import Index, make_index
from vae_jax.storage import replacing, subfolder
from vae_jax.tasks.representations import check_searchable, encode, reader
from vae_jax.tasks.saved import Saved
from vae_jax.trained import Trained
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.folder import read_manifest


class Gallery(NamedTuple):
    """Pictures to search in, not read yet."""

    name: str  # of its index in the run folder
    fingerprint: str  # of all pictures
    count: int  # N
    read: Callable[[np.ndarray], np.ndarray]  # index [B] -> [B,H,W,C] in [0, 1]
    about: Callable[[int], dict[str, Any]]  # what is known of a picture: its number in the split and label, or its path


def training_pictures(saved: Saved) -> Gallery:
    """Return the training split of a run as a gallery."""
    labels = saved.dataset.splits["train"].labels

    def about(i: int) -> dict[str, Any]:
        return {"split": "train", "index": i} | ({} if labels is None else {"label": int(labels[i])})

    fingerprint = read_manifest(saved.folder)["data"]["sha256"]
    return Gallery("train", fingerprint, saved.dataset.sizes["train"], reader(saved, "train"), about)


def folder_pictures(folder: pathlib.Path, trained: Trained, invert: bool) -> Gallery:
    """Return the picture files below a folder as a gallery, prepared as those of the run were; hidden ones are none.

    Raises:
        DataError: it is no folder, holds no pictures, or a file cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"--gallery={folder} is not a folder")
    inner = [path.relative_to(folder) for path in picture_files(folder)]
    files = [(str(path), hashlib.sha256(_bytes(folder / path)).hexdigest()) for path in inner]
    where = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()

    def read(index: np.ndarray) -> np.ndarray:
        found = [str(folder / inner[i]) for i in index]
        return trained.prepared(read_pictures(found, trained.spec.shape, invert, trained.config["data"]), drawn=False)

    return Gallery(
        f"folder-{where[:12]}",
        hashlib.sha256(json.dumps([files, invert]).encode()).hexdigest(),
        len(files),
        read,
        lambda i: {"path": str(folder / inner[i])},
    )


def open_index(
    folder: pathlib.Path, trained: Trained, gallery: Gallery, say: Callable[[str], None]
) -> tuple[Index, Index]:
    """Return the exact and the approximate index of a gallery: from the run folder, or made and kept there.

    An index that was made from other parameters or other pictures, or is damaged, is made anew.

    Raises:
        ConfigError: the model is conditional.
        DataError: a picture cannot be read.
        StorageError: the index cannot be written.
    """
    check_searchable(trained)
    state = state_sha256((trained.params, trained.stats))
    identity = [2, trained.config["model"], trained.config["data"], state, gallery.fingerprint]
    fingerprint = hashlib.sha256(json.dumps(identity, default=dict).encode()).hexdigest()
    path = folder / "index" / f"{gallery.name}.npz"
    if path.exists():
        kept = _read_index(path, fingerprint)
        if isinstance(kept, tuple):
            return kept
        say(f"{path} {kept}; it is made anew")
    codes = encode(trained, gallery.count, gallery.read)
    exact, approximate = make_index(codes), make_index(codes, approximate=True)
    _write_index(path, fingerprint, approximate)
    say(f"index of {gallery.count} pictures written to {path}")
    return exact, approximate


def _bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read_index(path: pathlib.Path, fingerprint: str) -> tuple[Index, Index] | str:
    """Return both indices, or why those of the file are of no use."""
    import faiss

    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as file:  # a zip archive: what it holds is compared with checksums
            if str(file["fingerprint"]) != fingerprint:
                return "was made from another model or from other pictures"
            vectors, engine = file["vectors"], faiss.deserialize_index(file["engine"])
    except Exception as error:  # a damaged archive raises at least eight kinds
        return f"is damaged ({' '.join(str(error).split()) or type(error).__name__})"
    exact = make_index(vectors)
    return exact, Index(vectors, exact.centre, engine)


def _write_index(path: pathlib.Path, fingerprint: str, approximate: Index) -> None:
    import faiss

    engine = faiss.serialize_index(approximate.engine)
    with replacing(path) as part:
        subfolder(path.parent)
        np.savez(part, fingerprint=fingerprint, vectors=approximate.vectors, engine=engine)
