"""What a reader has to know of the machine and the software that gave the figures."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

from vae_jax import __version__
from vae_jax.training.manifest import cpu_model

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "pythae")
_SETTINGS = ("XLA_FLAGS", "JAX_PLATFORMS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def describe() -> dict[str, Any]:
    """Return processor, memory, versions, load and settings, as they are now; what the system does not tell is None."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {"vae_jax": __version__, **{name: _version(name) for name in _PACKAGES}},
        "commit": _ask("git", "-C", str(pathlib.Path(__file__).parent), "rev-parse", "HEAD"),
        "environment": {name: os.environ[name] for name in _SETTINGS if name in os.environ},
        "command": sys.argv,
        "started_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _line(file: str, name: str) -> str | None:
    """Return what stands after the colon in the first line of a file that starts with `name`."""
    path = pathlib.Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _memory_gb() -> float | None:
    """Return the memory of the machine, 1 GB = 10^9 bytes."""
    total = _line("/proc/meminfo", "MemTotal")
    return round(int(total.split()[0]) * 1024 / 1e9, 1) if total else None


def _gpus() -> list[str]:
    found = _ask("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return found.splitlines() if found else []


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _ask(*command: str) -> str | None:
    """Return what a command prints; None where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
