"""Run pytest and print where its CPU seconds go: by file, and by cause.

    python scripts/testing/measure.py [--out=FILE.jsonl] [pytest arguments]

One row per test in FILE: wall time, CPU seconds of the test process and of the processes that it started and waited
for, seconds that JAX spent tracing and compiling in the test process, and the number of processes started.
"""

import argparse
import collections
import json
import os
import pathlib
import sys
import tempfile
import time

import pytest

# Work that runs inside other work (a compilation inside tracing) counts once, for the inner event.
EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "trace",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "trace",
    "/jax/core/compile/backend_compile_duration": "compile",
}
OUT = "VAE_JAX_MEASURE_OUT"


class Measure:
    """Measure each test of this process and append one JSON row per test to `path`."""

    def __init__(self, path: str):
        self.path, self.seconds, self.spans, self.starts = path, collections.Counter(), [], 0

    def listen(self) -> None:
        """Subscribe to JAX's compilation events and to process starts."""
        import jax

        jax.monitoring.register_event_duration_secs_listener(self.on_duration)
        sys.addaudithook(self.on_audit)

    def on_duration(self, event: str, seconds: float, **_) -> None:
        """Count one event of JAX, less the events inside it."""
        if event in EVENTS:
            end = time.perf_counter()
            inside = 0.0
            while self.spans and self.spans[-1][0] >= end - seconds:
                inside += self.spans.pop()[1]
            self.spans.append((end - seconds, seconds))
            self.seconds[EVENTS[event]] += max(0.0, seconds - inside)

    def on_audit(self, event: str, _args) -> None:
        """Count the processes that are started."""
        self.starts += event in ("subprocess.Popen", "os.posix_spawn", "os.fork")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        """Measure setup, call and teardown of one test together."""
        wall, before, self.starts = time.perf_counter(), os.times(), 0
        self.seconds.clear()
        result = yield
        after = os.times()
        row = {
            "test": item.nodeid,
            "wall": time.perf_counter() - wall,
            "own": after.user + after.system - before.user - before.system,
            "children": after.children_user + after.children_system - before.children_user - before.children_system,
            "trace": self.seconds["trace"],
            "compile": self.seconds["compile"],
            "starts": self.starts,
        }
        with open(self.path, "a") as file:
            file.write(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}) + "\n")
        return result


def pytest_configure(config) -> None:
    """Measure in the processes that run tests: the workers of pytest-xdist, or the only process."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        measure = Measure(os.environ[OUT])
        measure.listen()
        config.pluginmanager.register(measure)


def table(rows: list[dict]) -> str:
    """Return the rows as Markdown tables: CPU seconds by cause, and by file."""
    groups = collections.defaultdict(list)
    for row in rows:
        groups[row["test"].split("::")[0]].append(row)
    columns = "wall", "own", "children", "trace", "compile", "starts"
    sums = {name: {c: sum(r[c] for r in group) for c in columns} for name, group in groups.items()}
    total = {c: sum(s[c] for s in sums.values()) for c in columns}
    rest = total["own"] - total["trace"] - total["compile"]
    causes = {
        "JAX: compiling": total["compile"],
        "JAX: tracing and lowering": total["trace"],
        "test processes, everything else (training, evaluation, pytest)": rest,
        f"{total['starts']} processes started by tests": total["children"],
        "waiting (wall time less CPU seconds)": total["wall"] - total["own"] - total["children"],
    }
    lines = ["| cause | seconds |", "|---|---|", *(f"| {name} | {value:.0f} |" for name, value in causes.items()), ""]
    lines += ["| file | tests | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name, s in sorted(sums.items(), key=lambda pair: -pair[1]["own"] - pair[1]["children"]):
        lines.append(f"| {name} | {len(groups[name])} | " + " | ".join(f"{s[c]:.0f}" for c in columns) + " |")
    slowest = sorted(rows, key=lambda row: -row["wall"])[:20]
    lines += ["", "| slowest tests | wall, s |", "|---|---|", *(f"| {r['test']} | {r['wall']:.1f} |" for r in slowest)]
    return "\n".join(lines)


def main() -> int:
    """Run pytest with this file as a plugin."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", help="write one JSON row per test to this file", type=pathlib.Path)
    args, rest = parser.parse_known_args()
    out = args.out or pathlib.Path(tempfile.mkdtemp()) / "tests.jsonl"
    out.unlink(missing_ok=True)
    os.environ[OUT] = str(out.resolve())
    folder = str(pathlib.Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    sys.path.insert(0, folder)
    start = time.time()
    status = pytest.main(["-p", "measure", *rest])
    print(table([json.loads(line) for line in out.read_text().splitlines()]))
    print(f"\n{time.time() - start:.0f} s in all")
    return status


if __name__ == "__main__":
    sys.exit(main())
