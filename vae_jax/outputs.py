"""Files that a script is asked to write: checked before the work that they are to hold. Imports no JAX."""

from __future__ import annotations

import os
import pathlib

from vae_jax.errors import ConfigError, OutputError


def output_file(out: pathlib.Path, suffix: str) -> pathlib.Path:
    """Return the path of a file to write, after checking that it can be.

    Raises:
        ConfigError: another suffix.
        OutputError: its folder does not exist, or it cannot be written.
    """
    if out.suffix.lower() != suffix:
        raise ConfigError(f"--out={out} must end in {suffix}")
    new = not os.path.lexists(out)
    try:
        out.open("ab").close()
    except OSError as error:
        raise OutputError(f"--out={out} cannot be written: {error.strerror}") from error
    if new:
        out.unlink()
    return out


def picture_with_json(out: pathlib.Path, workdir: pathlib.Path) -> pathlib.Path:
    """Return the path of a PNG file to write, beside which a JSON file is to lie, after checking that it can be.

    Raises:
        ConfigError: another suffix, or it is in the run folder itself, among the run's own JSON files.
        OutputError: its folder does not exist, or it cannot be written.
    """
    if out.resolve().parent == workdir.resolve():
        raise ConfigError(
            f"--out={out} lies among the files of the run, and a JSON file would lie beside it; use {workdir}/pictures/"
        )
    return output_file(out, ".png")
