"""The process of one contender: python -m vae_jax.benchmark.worker SETTING, a `Setting` as JSON.

It answers in lines of JSON. The first, {"device": ...}, says that the contender is ready, or {"skipped": reason} that
it will not be. Then a number n on standard input is answered by what run(n) took in seconds and its other figures, and
the end of the input by the most memory that was used. What the libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time
from typing import Any

from vae_jax.benchmark.settings import Setting, Unavailable, library, maker


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(figures: dict[str, Any]) -> None:
        print(json.dumps(figures), file=answers)

    setting = Setting(**json.loads(sys.argv[1]))
    try:
        run = maker(setting)(setting)
    except Unavailable as reason:
        answer({"skipped": str(reason)})
        return
    answer({"device": _device(setting.contender)})
    for line in sys.stdin:
        before = _busy_seconds()
        began = time.perf_counter()
        figures = run(int(line))
        seconds = time.perf_counter() - began
        others = sum(now - then for now, then in zip(_busy_seconds(), before, strict=True)) / seconds
        answer({"seconds": seconds, "other_cores": max(0.0, others), **figures})
    answer({"peak_rss_mb": _peak_rss_mb(), "peak_device_mb": _peak_device_mb(setting.contender)})


def _busy_seconds() -> tuple[float, float]:
    """Return the seconds that all cores have been busy for anyone, and minus those for this process; (0, 0) off Linux.

    What the host of a virtual machine took from it counts as busy.
    """
    stat = pathlib.Path("/proc/stat")
    if not stat.exists():
        return 0.0, 0.0
    user, nice, system, _, _, irq, soft_irq, stolen = map(int, stat.read_text().split()[1:9])
    busy = (user + nice + system + irq + soft_irq + stolen) / os.sysconf("SC_CLK_TCK")
    return busy, -sum(os.times()[:4])


def _device(contender: str) -> str:
    """Return what the contender computes on."""
    if library(contender) == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"
    import jax

    return ", ".join(device.device_kind for device in jax.local_devices())


def _peak_rss_mb() -> float | None:
    """Return the most memory of the host that this process has held, 1 MB = 10^6 bytes; None off Linux."""
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return None
    found = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(found["VmHWM"].split()[0]) * 1024 / 1e6


def _peak_device_mb(contender: str) -> float | None:
    """Return the most memory of a GPU that arrays have taken; None on a CPU."""
    if library(contender) == "torch":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None
    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics["peak_bytes_in_use"] / 1e6 if "peak_bytes_in_use" in statistics else None


if __name__ == "__main__":
    main()
