"""From a name in a config to a function: `{'name': 'conv', 'channels': (8, 16)}` -> `partial(conv, channels=(8, 16))`.

There is no registry. A *home* is a module or a package; its components are the public functions that its files
define, each under its own name, or, in a file that defines `make`, that one under the name of the file. The fields
a component takes are its keyword-only arguments. All this is read from the source, so that a config is checked
before JAX or Flax are imported (about 1.5 s).
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vae_jax.errors import ConfigError

_ROOT = pathlib.Path(__file__).parent


class Component(NamedTuple):
    """A function that a config may name."""

    module: str
    function: str
    fields: Mapping[str, Any]  # keyword-only arguments with their defaults; REQUIRED where there is none
    hypers: frozenset[str]  # the keys read as hypers['...'] in its source: the traced hyperparameters it needs


REQUIRED = object()


@functools.cache
def components(home: str) -> dict[str, Component]:
    """List the components of a home such as 'nn.encoders' or 'models', by name."""
    path = _ROOT.joinpath(*home.split("."))
    files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    found = {}
    for file in files:
        module = ".".join(("vae_jax", *file.relative_to(_ROOT).with_suffix("").parts))
        functions = {n.name: n for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)}
        if "make" in functions:
            functions = {file.stem: functions["make"]}
        for name, node in functions.items():
            if not name.startswith("_"):
                found[name] = Component(module, node.name, _fields(node), _hypers(node))
    return found


def component(home: str, name: str, where: str) -> Component:
    """Return the component called `name`; `where` is the config field that names it, for the message.

    Raises:
        ConfigError: there is no such component; the message lists those there are.
    """
    known = components(home)
    if name not in known:
        raise ConfigError(f"{where}={name!r} is unknown{nearest(name, known)}; known: {', '.join(sorted(known))}")
    return known[name]


def fill(home: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Complete a component's fields with its defaults. None means 'not given'.

    Raises:
        ConfigError: an unknown name, a field that the component does not take, or a required one not given.
    """
    name = given["name"]
    fields = component(home, name, f"{where}.name").fields
    chosen = {k: v for k, v in given.items() if v is not None and k != "name"}
    for field in chosen:
        if field not in fields:
            takes = ", ".join(fields) or "no fields"
            raise ConfigError(
                f"{where}.{field} is set, but {name!r} does not take it (it takes {takes}); leave it unset"
            )
    missing = [k for k, v in fields.items() if v is REQUIRED and k not in chosen]
    if missing:
        raise ConfigError(f"{where}.{missing[0]} is not set, and {name!r} needs it")
    return {"name": name, **fields, **chosen}


def build(home: str, given: Mapping[str, Any]) -> Callable[..., Any]:
    """Import the component that `given['name']` names and bind the other fields to it."""
    found = component(home, given["name"], f"{home}.name")
    function = getattr(importlib.import_module(found.module), found.function)
    return functools.partial(function, **{k: v for k, v in given.items() if k != "name" and v is not None})


def nearest(name: str, known: Any) -> str:
    """Return ' (did you mean "x"?)' for the closest known name, or nothing."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f' (did you mean "{close[0]}"?)' if close else ""


def _fields(node: ast.FunctionDef) -> dict[str, Any]:
    defaults = (REQUIRED if d is None else ast.literal_eval(d) for d in node.args.kw_defaults)
    return dict(zip((a.arg for a in node.args.kwonlyargs), defaults, strict=True))


def _hypers(node: ast.FunctionDef) -> frozenset[str]:
    return frozenset(
        n.slice.value
        for n in ast.walk(node)
        if isinstance(n, ast.Subscript)
        and isinstance(n.value, ast.Name)
        and n.value.id == "hypers"
        and isinstance(n.slice, ast.Constant)
    )
