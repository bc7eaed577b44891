"""Contenders in processes of their own, asked one after another, so that none disturbs another."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time
from typing import Any

from vae_jax.benchmark.settings import Setting

_PATIENCE = 1200.0  # seconds that an answer may take


class Failed(Exception):
    """A contender cannot be measured, or no longer; the message says why."""


class Process:
    """A running `worker`. What it asks of `run` and how it answers stands there.

    Args:
        setting: the contender and its task.
        cache: the folder in which it keeps compiled programs; a new one starts cold.
    """

    def __init__(self, setting: Setting, cache: pathlib.Path):
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by `close`)
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vae_jax.benchmark.worker", json.dumps(setting._asdict())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(cache, setting.devices),
            text=True,
        )
        try:
            self.device = self._answer()["device"]
        except Failed:
            self.kill()
            raise

    @property
    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self._began

    def run(self, count: int) -> dict[str, float]:
        """Do run(count) and return its figures: seconds, other_cores (used by others meanwhile), loss, ...

        Raises:
            Failed: it cannot.
        """
        with contextlib.suppress(BrokenPipeError):  # it has ended, and `_answer` tells why
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> dict[str, Any]:
        """End the process and return the most memory it used: peak_rss_mb, peak_device_mb.

        Raises:
            Failed: it ended badly.
        """
        self._process.stdin.close()
        found = self._answer()
        self._process.wait()
        self.kill()
        return found

    def kill(self) -> None:
        """End the process at once, if it has not ended."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        ready, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        if not ready:
            raise Failed(f"no answer within {_PATIENCE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = [text.strip() for text in self._errors if text.strip()]
            raise Failed(f"the process ended with code {code}: {said[-1] if said else 'no message'}"[:300])
        found = json.loads(line)
        if "skipped" in found:
            raise Failed(found["skipped"])
        return found


def _environment(cache: pathlib.Path, devices: int) -> dict[str, str]:
    """Return the environment of a process that keeps compiled programs in `cache`, where it does so by default.

    With `devices` it sees the first so many GPUs of those that there are or, where JAX finds none, simulated devices.
    """
    given = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    caches = {"XDG_CACHE_HOME": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
    if devices:
        flags = f"{given.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"  # the last one counts
        visible = given.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(devices))))
        given |= {"XLA_FLAGS": flags.strip(), "CUDA_VISIBLE_DEVICES": ",".join(visible.split(",")[:devices])}
    # Several processes that hold a GPU at once have to share its memory.
    return given | caches | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
