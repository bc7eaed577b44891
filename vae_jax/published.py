"""What of a run may be published: its files, and of its records nothing that tells of the machine or its user."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vae_jax.config_rules import flatten
from vae_jax.errors import ConfigError, DataError

_CHECKPOINT = (  # as Orbax names them
    r"_CHECKPOINT_METADATA|commit_success\.txt|state/(_METADATA|_sharding|commit_success\.txt|manifest\.ocdbt"
    r"|d/[0-9a-f]+|array_metadatas/process_\d+|ocdbt\.process_\d+/(manifest\.ocdbt|d/[0-9a-f]+))"
)
_FILES = re.compile(
    r"README\.md|(config|manifest|results)\.json|metrics\.jsonl|pictures/[A-Za-z0-9_-]+\.png"
    rf"|checkpoints/[0-9]{{1,12}}/({_CHECKPOINT})",
    re.ASCII,
)
_PATH = re.compile(r"(^|[\s=:,'\"])(~[/\w]|/(?!/)|\.\./)")  # the start of a path that is not of the repository


def is_run_file(name: str) -> bool:
    """Tell whether a file of a published run may be called so, with / between its folders."""
    return _FILES.fullmatch(name) is not None


def run_files(folder: pathlib.Path) -> list[str]:
    """Return the files of a folder, sorted.

    Raises:
        DataError: one of them is none of a run, or no plain file.
    """
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or (path.is_file() and is_run_file(name))):
            raise DataError(f"{name!r} is no file of a run")
        names += [] if path.is_dir() else [name]
    return sorted(names)


def published_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config as a plain dict.

    Raises:
        ConfigError: a field is a path of this machine; a config is published whole, or it is another one.
    """
    tree = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    _refuse_paths(tree, "config.json")
    return tree


def published_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest without the host, the environment but for JAX_* and XLA_*, paths, and names of skipped files.

    Of the command the config and its overrides are left: all that decides the numbers.

    Raises:
        ConfigError: there is still a path in it.
    """
    restarts = [restart | {"changed": _changed(restart.get("changed", {}))} for restart in manifest.get("restarts", [])]
    skipped = len(manifest["data"].get("skipped", ()))
    result = {
        **manifest,
        "host": None,
        "environment": _environment(manifest.get("environment", {})),
        "restarts": restarts,
        "command": list(_command(manifest.get("command", ()))),
        "data": {**manifest["data"], "skipped": [f"{skipped} files"] if skipped else []},
    }
    _refuse_paths(result, "manifest.json")
    return result


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in variables.items() if k.startswith(("JAX_", "XLA_")) and not _PATH.search(v)}


def _changed(since: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a restart found changed, without what is left out of the manifest itself."""
    kept = {name: value for name, value in since.items() if name != "host"}
    return kept | ({"environment": _environment(kept["environment"])} if "environment" in kept else {})


def _command(argv: list[str]) -> Iterator[str]:
    """Yield the command of a run of train.py, with a path of the repository and no other; nothing for another one."""
    if len(argv) < 2 or pathlib.PurePath(argv[1]).name != "train.py":
        return
    yield from ("python", "scripts/train.py")
    flags = iter(argv[2:])
    for flag in flags:
        name, given, value = flag.partition("=")
        if name == "--config":
            file, colon, argument = (value if given else next(flags, "")).partition(":")
            yield f"--config=configs/{pathlib.PurePath(file).name}{colon}{argument}"
        elif name.startswith("--config."):
            yield flag


def _refuse_paths(tree: Mapping[str, Any], file: str) -> None:
    for name, value in flatten(tree):
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(one, Mapping):
                _refuse_paths({name: one}, file)
            elif isinstance(one, str) and _PATH.search(one):
                raise ConfigError(f"{name}={one!r} in {file} is a path of this machine, and would be published")
