"""The table of the zoo: every variant of the configs, what it adds to the code, and what it measures.

Nothing is imported but what configs are: the code is read as text.
"""

from __future__ import annotations

import ast
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vae_jax import config
from vae_jax.build import component

_PACKAGE = pathlib.Path(__file__).parent.parent
# What the others are measured against: a convolution is no variant of an autoencoder.
_PLAIN = ("zoo_vae.py:variant=vae", "zoo_autoencoders.py:variant=plain", "zoo_autoencoders.py:variant=conv")

Definition = tuple[str, str]  # dotted module, name


class Variant(NamedTuple):
    """A row of the table."""

    spec: str  # such as zoo_vae.py:variant=iwae
    text: str  # first line of its docstring
    rung: int  # 0 a config, 1 components, 2 a model of its own
    lines: int  # of the package, that the plain VAE and autoencoder do without


def variants(configs: pathlib.Path) -> list[Variant]:
    """Return all variants of the zoo, the files `zoo_*.py` of a folder, in their order."""
    shared = set().union(*(_definitions(_load(configs, spec)) for spec in _PLAIN))
    plain_models = {_load(configs, spec)["model"]["name"] for spec in _PLAIN}
    found = []
    for path in sorted(configs.glob("zoo_*.py")):
        for name, text in _documented(path).items():
            spec = f"{path.name}:variant={name}"
            resolved = _load(configs, spec)
            beyond = _definitions(resolved) - shared
            own_model = resolved["model"]["name"] not in plain_models
            lines = sum(_length(*definition) for definition in beyond)
            found.append(Variant(spec, text, 2 if own_model else int(bool(beyond)), lines))
    return found


def total_lines(configs: pathlib.Path) -> int:
    """Return the lines that all variants of the zoo together add to the plain ones, each definition counted once."""
    shared = set().union(*(_definitions(_load(configs, spec)) for spec in _PLAIN))
    specs = (f"{path.name}:variant={name}" for path in sorted(configs.glob("zoo_*.py")) for name in _documented(path))
    beyond = set().union(*(_definitions(_load(configs, spec)) for spec in specs)) - shared
    return sum(_length(*definition) for definition in beyond)


def table(configs: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the table in Markdown, a part for each file; `rows` are those of docs/results.jsonl.

    A figure is of the last row whose command trains the variant as it is, without overrides.
    """
    measured = {_variant_of(row["command"]): row for row in rows}
    parts, all_variants = [], variants(configs)
    for path in sorted(configs.glob("zoo_*.py")):
        title = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
        parts += [f"### `configs/{path.name}`", "", title, ""]
        parts += ["| variant | what it is | rung | lines | test figures | seconds |", "|---|---|---|---|---|---|"]
        for v in all_variants:
            if v.spec.startswith(path.name):
                figures, seconds = _figures(measured.get(v.spec))
                name = v.spec.partition("=")[2]
                parts.append(f"| `{name}` | {v.text} | {v.rung} | {v.lines} | {figures} | {seconds} |")
        parts.append("")
    count, lines = len(all_variants), total_lines(configs)
    parts.append(
        f"{count} variants in {lines} lines beyond the plain VAE and autoencoder: {lines / count:.0f} for each."
    )
    return "\n".join(parts) + "\n"


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


_SHOWN = {  # a figure of a row's test split -> how it is written
    "neg_elbo_nats": "-ELBO {:.2f}",
    "nll_nats": "-log p {:.2f}",
    "nll_bits_per_dim": "{:.3f} bits/dim",
    "rate_nats": "rate {:.1f}",
    "active_units": "{:.0f} active",
    "mse": "mse {:.4f}",
}


def _figures(row: Mapping[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return "not run", ""
    test = row["test"]
    shown = [form.format(test[name]) for name, form in _SHOWN.items() if name in test]
    for key in "generation", "generation_gmm":
        if key in row:
            distance, sampler = row[key]["frechet_distance_samples"], row[key]["sampler"]
            shown.append(f"Fréchet {distance:.1f} ({sampler})")
    if "disentanglement" in row:
        shown.append(f"TC {row['disentanglement']['total_correlation_bound_nats']:.2f}")
    return ", ".join(shown), f"{row['seconds_total']:.0f}"


def _variant_of(command: str) -> str | None:
    """Return 'zoo_vae.py:variant=iwae' of a command that trains it as it is, else None."""
    words = command.split()
    given = [word.removeprefix("--config=configs/") for word in words if word.startswith("--config=")]
    overridden = any(word.startswith("--config.") for word in words)
    return given[0] if len(given) == 1 and not overridden else None


def _load(configs: pathlib.Path, spec: str) -> Mapping[str, Any]:
    return config.load(f"{configs}/{spec}")


def _documented(path: pathlib.Path) -> dict[str, str]:
    """Return the variants of a config file with the first lines of their docstrings, in order."""
    body = ast.parse(path.read_text()).body
    texts = {n.name: ast.get_docstring(n) or "" for n in body if isinstance(n, ast.FunctionDef)}
    chosen = next(n.value for n in body if isinstance(n, ast.Assign) and n.targets[0].id == "_VARIANTS")
    return {key.value: texts[value.id].splitlines()[0] for key, value in zip(chosen.keys, chosen.values, strict=True)}


def _definitions(resolved: Mapping[str, Any]) -> set[Definition]:
    """Return all functions and classes of the package that the components of a config's model lead to."""
    found: set[Definition] = set()
    todo = []
    for path, home in config.COMPONENTS.items():
        node: Any = resolved
        for key in path.split("."):
            node = node.get(key) if node else None
        if path.startswith("model") and node:
            named = component(home, node["name"], path)
            todo.append((named.module, named.function))
    while todo:
        definition = todo.pop()
        if definition not in found:
            found.add(definition)
            todo += _leads_to(*definition)
    return found


@functools.cache
def _leads_to(module: str, name: str) -> tuple[Definition, ...]:
    """Return the definitions that one refers to, in its own module or imported from another of the package."""
    here, imported = _module(module)
    names = {n.id for n in ast.walk(here[name]) if isinstance(n, ast.Name)}
    names |= {f"{n.value.id}.{n.attr}" for n in ast.walk(here[name]) if _is_attribute(n)}
    reached = [(module, other) for other in names & here.keys() if other != name]
    for other in names:
        head, _, tail = other.partition(".")
        if head in imported:
            source = imported[head]
            target = (source, tail) if tail else tuple(source.rsplit(".", 1))
            if _exists(*target):
                reached.append(target)
    return tuple(reached)


def _is_attribute(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


@functools.cache
def _module(module: str) -> tuple[dict[str, ast.AST], dict[str, str]]:
    """Return the definitions of a module by name, and what the names that it imports stand for."""
    path = _path(module)
    body = ast.parse(path.read_text()).body if path.is_file() else []
    here = {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    imported = {}
    for node in body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vae_jax"):
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return here, imported


def _path(module: str) -> pathlib.Path:
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str, name: str) -> bool:
    return name in _module(module)[0]


def _length(module: str, name: str) -> int:
    node = _module(module)[0][name]
    return node.end_lineno - node.lineno + 1
