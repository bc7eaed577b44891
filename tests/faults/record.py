"""The record of the faults: docs/faults.jsonl, a row a case, and docs/faults.md, which is rendered from it.

A test is part of a case by `@pytest.mark.fault(CASE, injected=..., promised=...)`, whatever file it is in. `short` and
`full` say how often a test that takes `attempt` runs, by default once; all attempts but the first are `long`. A test
that injects a fault many times calls `held()` after each that ended as promised. `--faults=full` runs the full set and
writes the record: rows of cases that were not run stay.
"""

import datetime
import json
import platform
from importlib.metadata import version

import pytest

from tests.conftest import ROOT

ROWS, PAGE = ROOT / "docs" / "faults.jsonl", ROOT / "docs" / "faults.md"
_HEAD = """# Faults, injected for real

Each is injected into real processes or real files, and what is promised is checked: nothing is lost, one clear line is
printed, and the same command goes on to the same bits. `make faults` injects all of them and writes this page; pytest
with `--faults=full` and fewer tests replaces the rows of these only, so rows may be of different commits. `make
test-all` injects each at least once. Seconds are of a machine of two cores that did other work as well.

| case | what is injected | what is promised | ended so | seconds | when, with |
|---|---|---|---|---|---|
"""


class Record:
    """A plugin of pytest: picks the tests of the set, and counts how they end."""

    def __init__(self, config):
        self.full, self.rows = config.getoption("--faults") == "full", {}
        self.writes = self.full and not hasattr(config, "workerinput")
        config.addinivalue_line("markers", "fault(case, injected, promised, short, full): see tests/faults/record.py")

    def pytest_generate_tests(self, metafunc):
        """Run a test that takes `attempt` as often as its mark says."""
        if "attempt" in metafunc.fixturenames:
            settings = metafunc.definition.get_closest_marker("fault").kwargs
            count = settings.get("full" if self.full else "short", 1)
            later = [pytest.param(attempt, marks=pytest.mark.long) for attempt in range(1, count)]
            metafunc.parametrize("attempt", [0, *later])

    def pytest_collection_modifyitems(self, items):
        """Note what a test is part of."""
        for item in items:
            if mark := item.get_closest_marker("fault"):
                told = {"case": mark.args[0], **{name: mark.kwargs[name] for name in ("injected", "promised")}}
                item.user_properties.append(("fault", told))

    def pytest_runtest_logreport(self, report):
        """Count a test: as often as it said `held`, or once."""
        properties = dict(report.user_properties)
        if "fault" not in properties or report.skipped or not (report.when == "call" or report.failed):
            return
        empty = {**properties["fault"], "times": 0, "ended_as_promised": 0, "seconds": 0.0}
        row = self.rows.setdefault(empty["case"], empty)
        held = properties.get("held", int(report.passed))
        row["ended_as_promised"] += held
        row["times"] += held + int(report.failed)
        row["seconds"] = round(row["seconds"] + report.duration, 1)

    def pytest_sessionfinish(self):
        """Write the record."""
        if self.writes and self.rows:
            versions = {
                "python": platform.python_version(),
                "jax": version("jax"),
                "orbax": version("orbax-checkpoint"),
            }
            date = datetime.datetime.now(datetime.UTC).date().isoformat()
            kept = {row["case"]: row for row in read_rows()}
            kept |= {case: {**row, "versions": versions, "date": date} for case, row in self.rows.items()}
            ROWS.write_text("".join(json.dumps(row) + "\n" for row in kept.values()))
            PAGE.write_text(page(kept.values()))


def read_rows():
    """Return what docs/faults.jsonl holds."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def page(rows):
    """Return the text of docs/faults.md."""
    lines = []
    for row in rows:
        ended = f"{row['ended_as_promised']} of {row['times']}"
        when = f"{row['date']}, " + ", ".join(f"{name} {number}" for name, number in row["versions"].items())
        cells = row["case"], row["injected"], row["promised"], ended, f"{row['seconds']:.0f}", when
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return _HEAD + "".join(lines)
