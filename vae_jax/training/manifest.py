"""What a reader needs to run a run again: command, versions, code, data, devices, seeds."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax
import jaxlib

from vae_jax import __version__
from vae_jax.config import fingerprint
from vae_jax.precision import precision_of

_SAFE_PREFIXES = ("JAX_", "XLA_", "SLURM_", "CUDA_", "NCCL_")  # never the rest: it may hold tokens


def make_manifest(config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run that starts now; `data` says what was read, with its SHA-256."""
    return {
        "schema": 1,
        "started_utc": _now(),
        "restarts": [],
        "command": [sys.executable, *sys.argv],
        "config_sha256": fingerprint(config),
        "precision": {part: precision_of(config[part]) for part in ("train", "evaluate")},
        "seeds": _seeds(config),
        **_surroundings(),
        "data": dict(data),
    }


def of_other_run(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of another run that starts in this process, of the same data."""
    return {**manifest, "config_sha256": fingerprint(config), "seeds": _seeds(config)}


def note_restart(manifest: dict[str, Any], step: int) -> dict[str, Any]:
    """Return the manifest of a run that goes on from `step`, with what has changed since it started."""
    changed = {k: v for k, v in _surroundings().items() if manifest.get(k) != v}
    return manifest | {"restarts": [*manifest["restarts"], {"utc": _now(), "step": step, "changed": changed}]}


def _seeds(config: Mapping[str, Any]) -> dict[str, int]:
    return {"seed": config["seed"], "data_seed": config["data"]["seed"]}


def cpu_model() -> str | None:
    """Return the name of the processor, None where the system does not tell."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
    return found or platform.processor() or None


def _surroundings() -> dict[str, Any]:
    """Return code, software and machine, as they are now."""
    packages = sorted(_packages().items())
    return {
        "code": {"version": __version__, "source_sha256": _source_sha256(), **_git()},
        "python": platform.python_version(),
        "os": platform.platform(),
        "host": socket.gethostname(),
        "packages": dict(packages),
        "packages_sha256": hashlib.sha256(json.dumps(packages).encode()).hexdigest(),
        "jax": _jax(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_SAFE_PREFIXES)},
    }


def _packages() -> dict[str, str]:
    """Return the versions that are imported: the first of a name on the path. What pip left half-removed has none."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        with contextlib.suppress(FileNotFoundError):  # as the backport importlib_metadata says it, once it is imported
            if one.metadata and "Name" in one.metadata:
                found.setdefault(one.metadata["Name"], one.version)
    return found


def _jax() -> dict[str, Any]:
    device = jax.local_devices()[0]
    return {
        "version": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "backend": jax.default_backend(),
        "platform_version": device.client.platform_version,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "process_count": jax.process_count(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu_model": cpu_model(),
        "parameter_dtype": "float32",
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "x64": jax.config.jax_enable_x64,
        "prng": jax.config.jax_default_prng_impl,
        "threefry_partitionable": jax.config.jax_threefry_partitionable,
    }


def _source_sha256() -> str:
    """Return the SHA-256 of the package: whether a commit changed it, and what no commit holds, git does not tell."""
    package, digest = pathlib.Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _git(where: pathlib.Path = pathlib.Path(__file__).parent) -> dict[str, Any]:
    def ask(*words: str) -> str | None:
        try:  # a file of another encoding may be in the difference
            asked = {"capture_output": True, "text": True, "errors": "surrogateescape", "timeout": 10, "check": True}
            return subprocess.run(["git", *words], cwd=where, **asked).stdout
        except (OSError, subprocess.SubprocessError):
            return None

    code = "--", ":/", ":(top,exclude)docs"  # a table that grows row by row changes no run of the next row
    commit, status = ask("rev-parse", "HEAD"), ask("status", "--porcelain", *code)
    diff = ask("diff", "HEAD", *code)
    return {
        "commit": commit.strip() if commit else None,
        "dirty": bool(status.strip()) if status is not None else None,
        "diff_sha256": hashlib.sha256(diff.encode(errors="surrogateescape")).hexdigest() if diff else None,
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
