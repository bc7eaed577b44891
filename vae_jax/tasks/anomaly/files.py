"""Which pictures a user means. Imports no JAX."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from vae_jax.data.pictures import picture_files
from vae_jax.errors import DataError


def given_pictures(given: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Return the files, and all pictures in the folders and below them, in order of their names.

    Raises:
        DataError: one is missing, or a folder holds no picture.
    """
    found: list[pathlib.Path] = []
    for path in given:
        if path.is_dir():
            found += picture_files(path)
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"no picture {path}")
    return found
