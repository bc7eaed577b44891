"""Which pictures a user means. Imports no JAX."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from vae_jax.data.pictures import SUFFIXES
from vae_jax.errors import DataError


def picture_files(given: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Return the files, and all pictures in the folders and below them, in order of their names.

    Raises:
        DataError: one is missing, or a folder holds no picture.
    """
    found: list[pathlib.Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not inside:
                raise DataError(f"{path} holds no picture files ({', '.join(sorted(SUFFIXES))})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"no picture {path}")
    return found
