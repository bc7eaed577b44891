"""What a row of a published table gave: one line of JSON, from the run folders alone."""

from __future__ import annotations

import json
import pathlib
import platform
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.reproduction.surroundings import computes
from vae_jax.reproduction.tables import Row, Table, read_record
from vae_jax.storage import write_text
from vae_jax.training.folder import read_config, read_manifest, read_results
from vae_jax.training.manifest import cpu_model

_VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")
_PIXELS = {"dynamic": "dynamic, test once", "static": "static", "threshold": "threshold", "uint8": "none, 8 bits"}


class Run(NamedTuple):
    """A finished run of a row."""

    seed: int
    folder: pathlib.Path
    figures: Mapping[str, Any]  # that the task left


def record(table: Table, row: Row, runs: Sequence[Run], root: pathlib.Path) -> dict[str, Any]:
    """Return the line of a row; figures are in the unit of the table, a positive gap is worse than published."""
    config, manifest = read_config(runs[0].folder), read_manifest(runs[0].folder)
    each = [_of_run(table, row, run, root) for run in runs]
    values = [one["value"] for one in each]
    mean, count = float(np.mean(values)), len(values)
    return {
        "table": table.name,
        "row": row.name,
        "published": row.published,
        "source": table.source,
        "unit": table.unit,
        "figure": row.figure,
        "ours": {str(one["seed"]): one["value"] for one in each},
        "mean": mean,
        "standard_error": float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else None,
        "gap": (row.published - mean) if table.higher_is_better else (mean - row.published),
        "command": f"python scripts/reproduce.py --table={table.name} --row={row.name} "
        f"--seeds={max(run.seed for run in runs) + 1} --data_dir=DATA",
        "config": row.config,
        "data_sha256": manifest["data"]["sha256"],
        "num_train": manifest["data"]["sizes"]["train"],
        "binarization": "static, as published"
        if config["data"]["name"] == "binarized_mnist"
        else _PIXELS.get(config["data"]["pixels"], "none"),
        "importance_samples": config["evaluate"]["num_importance_samples"],
        "epochs": config["train"]["epochs"],
        "batch_size": config["train"]["batch_size"],
        "precision": manifest["precision"],
        "runs": each,
    }


def write_record(path: pathlib.Path, table: Table, lines: Iterable[Mapping[str, Any]]) -> None:
    """Put lines into the file of a table, in place of those of the same rows, in the order of the table."""
    kept = {line["row"]: line for line in [*read_record(path), *lines]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(kept[row.name]) + "\n" for row in table.rows if row.name in kept))


def _of_run(table: Table, row: Row, run: Run, root: pathlib.Path) -> dict[str, Any]:
    manifest = read_manifest(run.folder)
    packages = manifest["packages"]
    return {
        "seed": run.seed,
        "value": table.scale * _figure(run.figures, row.figure),
        "config_sha256": manifest["config_sha256"],
        "state_sha256": run.figures.get("state_sha256"),
        "commit": manifest["code"]["commit"],
        "dirty": manifest["code"]["dirty"],
        "versions": {"python": manifest["python"], **{name: packages.get(name) for name in _VERSIONS}},
        "lock": _lock(manifest, root),
        "hardware": _hardware(manifest),
        "date": manifest["started_utc"][:10],
        "restarts": len(manifest["restarts"]),
        **_seconds(run),
    }


def _figure(figures: Any, path: str) -> float:
    for part in path.format(chosen=figures.get("chosen")).split("."):
        figures = figures[int(part) if isinstance(figures, list) else part]
    return float(figures)


def _seconds(run: Run) -> dict[str, float | None]:
    """Return the time of training, with validation, and of the whole run: that is not known of an interrupted one."""
    if not (run.folder / "results.json").exists():
        return {
            "seconds_training": run.figures["training"]["seconds"],
            "seconds_total": run.figures.get("seconds_total"),
        }
    results, config = read_results(run.folder), read_config(run.folder)
    speed, whole = results["images_per_second"], not read_manifest(run.folder)["restarts"]
    images = results["steps"] * config["train"]["batch_size"]
    return {
        "seconds_training": images / speed if speed else None,
        "seconds_total": results["seconds_total"] if whole else None,
    }


def _hardware(manifest: Mapping[str, Any]) -> str:
    found = manifest["jax"]
    if found["backend"] != "cpu":
        return f"{found['device_count']} x {found['device_kind']}"
    # Manifests did not always name the processor: it is this one's if the run was on this host.
    here = cpu_model() if manifest["host"] == socket.gethostname() else None
    return f"{found['cpu_cores']} cores of {found.get('cpu_model') or here or platform.machine()}"


def _lock(manifest: Mapping[str, Any], root: pathlib.Path) -> str | None:
    """Return the lock file whose packages, of those that compute, are those of a run; None where there is none."""
    name = f"constraints/py{'.'.join(manifest['python'].split('.')[:2])}.txt"
    if not (root / name).exists():
        return None
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (root / name).read_text(), re.MULTILINE))
    installed = {package.lower().replace("_", "-"): version for package, version in manifest["packages"].items()}
    return name if all(installed.get(package) == pin for package, pin in pins.items() if computes(package)) else None
