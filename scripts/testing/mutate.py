"""Make known mistakes in the code, one at a time, and print which of them the tests notice.

    python scripts/testing/mutate.py scripts/testing/mutations.jsonl [--jobs=2] [--out=FILE.jsonl] -- -m "not long"

Arguments after `--` are those of pytest.

Each row of the list names a file of the package, a text in one line of it that occurs once, and its replacement:

    {"file": "vae_jax/prob/kl.py", "old": "0.5 *", "new": "2.0 *", "what": "factor of the KL", "tests": ["tests/..."]}

The tests that mirror the file run first (vae_jax/prob/kl.py: tests/prob/test_kl.py), then those named in `tests`, until
one fails. A mistake that no test notices has survived. Each job works in a copy of the checkout, so that the checkout
itself is never changed. The exit code is 1 if any survived.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent.parent


def copy_checkout(folder: pathlib.Path) -> pathlib.Path:
    """Copy all files of the checkout that git does not ignore."""
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def mirror(file: str) -> str:
    """Return the path of the test file of a module."""
    path = pathlib.Path(file)
    return str(pathlib.Path("tests", *path.parts[1:-1], f"test_{path.name}"))


def check(mutations: list[dict]) -> None:
    """Check that each text to replace occurs exactly once.

    Raises:
        SystemExit: names all that do not: the code has changed since the list was written.
    """
    counts = [((ROOT / one["file"]).read_text().count(one["old"]), one) for one in mutations]
    lines = [
        f"{one['file']}: {one['old']!r} occurs {count} times, expected once" for count, one in counts if count != 1
    ]
    if lines:
        raise SystemExit("\n".join(lines))


def noticed_by(mutation: dict, copy: pathlib.Path, arguments: list[str]) -> str | None:
    """Make the mistake in a copy, run the tests, restore, and return the first test that failed; None if none did."""
    path = copy / mutation["file"]
    text = path.read_text()
    tests = dict.fromkeys((mirror(mutation["file"]), *mutation.get("tests", ())))
    env = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    path.write_text(text.replace(mutation["old"], mutation["new"]))
    try:
        for test in tests:
            if not (copy / test.split("::")[0]).exists():
                continue
            command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *arguments, test]
            done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if done.returncode not in (0, 5):  # 5: no test was selected
                lines = (line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR ")))
                return next(lines, f"exit code {done.returncode} of {test}").split(" - ")[0]
    finally:
        path.write_text(text)
    return None


def main() -> int:
    """Run all mutations of a list."""
    own, separator, arguments = sys.argv[1:], "--", []
    if separator in own:
        own, arguments = own[: own.index(separator)], own[own.index(separator) + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("list", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, help="write one JSON row per mutation to this file")
    args = parser.parse_args(own)
    mutations = [json.loads(line) for line in args.list.read_text().splitlines() if line]
    check(mutations)
    survived = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        copies = queue.SimpleQueue()
        for job in range(args.jobs):
            copies.put(copy_checkout(pathlib.Path(folder, str(job))))

        def run(mutation):
            copy = copies.get()
            try:
                return noticed_by(mutation, copy, arguments)
            finally:
                copies.put(copy)

        for mutation, test in zip(mutations, pool.map(run, mutations), strict=True):
            survived += test is None
            print(f"{'noticed ' if test else 'SURVIVED'}  {mutation['file']}: {mutation['what']}  [{test}]", flush=True)
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps(mutation | {"noticed_by": test}) + "\n")
    print(f"{len(mutations) - survived} of {len(mutations)} noticed")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
