"""Config files: Python with `get_config()` or `get_config(arg)`, and `sweep_<name>()` for each sweep that it offers."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeVar

import ml_collections

from vae_jax.build import nearest
from vae_jax.errors import ConfigError

_Result = TypeVar("_Result")


def read_config(spec: str) -> ml_collections.ConfigDict:
    """Return what `path/to/config.py` or `path/to/config.py:argument` gives.

    Raises:
        ConfigError: there is no such file, or it fails; the message has the line.
    """
    path, colon, arg = spec.partition(":")
    config = _in_module(path, lambda module: module.get_config(arg) if colon else module.get_config())
    if type(config) is not ml_collections.ConfigDict:
        raise ConfigError(f"{path}: get_config() returned {type(config).__name__}, expected a ConfigDict")
    return config


def read_sweep(spec: str, name: str) -> list[dict[str, Any]]:
    """Return the points of `sweep_<name>()` in a config file: each dotted field -> value.

    Raises:
        ConfigError: see `read_config`; or it has no such sweep, and the message lists those it has; or no points.
    """
    path = spec.partition(":")[0]

    def call(module: ModuleType) -> Any:
        known = [key.removeprefix("sweep_") for key in vars(module) if key.startswith("sweep_")]
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "it has none; use --set"
            raise ConfigError(f"{path} has no sweep {name!r}{nearest(name, known)}; {there}")
        return list(getattr(module, f"sweep_{name}")())

    points = _in_module(path, call)
    if not points or not all(isinstance(point, Mapping) for point in points):
        raise ConfigError(f"{path}: sweep_{name}() gave no points; expected dicts of dotted field -> value")
    return [dict(point) for point in points]


def _in_module(path_text: str, use: Callable[[ModuleType], _Result]) -> _Result:
    """Import a config file, with its folder in reach as for a script, and return what `use` makes of it."""
    path = pathlib.Path(path_text)
    if not path.is_file():
        beside = sorted(str(p) for p in path.parent.glob("*.py")) or sorted(
            str(p) for p in pathlib.Path("configs").glob("*.py")
        )
        raise ConfigError(
            f"no config file {path_text!r}{nearest(path_text, beside)}; there are: {', '.join(beside) or 'none'}"
        )
    module_spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if module_spec is None:
        raise ConfigError(f"{path_text} is no config file: its name must end in .py")
    module = importlib.util.module_from_spec(module_spec)
    folder, before = path.resolve().parent, set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        module_spec.loader.exec_module(module)
        return use(module)
    except ConfigError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == module_spec.origin]
        at = f", line {lines[-1]}," if lines else ""
        raise ConfigError(f"{path_text}{at} failed: {type(error).__name__}: {error}".replace("\n", " ")) from error
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:  # another folder's base.py is another module
            if pathlib.Path(getattr(sys.modules[name], "__file__", None) or "/").parent == folder:
                del sys.modules[name]
