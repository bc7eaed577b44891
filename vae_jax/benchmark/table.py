"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# By what was measured: title of a column, the figure, how it is written.
_AXIS = [("what grows", "axis", ""), ("to", "value", "")]
_CASE = [("network", "net", ""), ("batch", "batch_size", ""), ("precision", "precision", ""), ("", "contender", "")]
_NAMED_BY = [key for _, key, _ in _AXIS + _CASE[:-1]]  # a row, beside its contender
_COLUMNS = {
    "train": [
        ("images/s", "images_per_second", ",.0f"),
        ("ours / this", "ours_over_this", ".2f"),
        ("GFLOP/s", "gflops", ",.1f"),
        ("of its library's peak", "fraction_of_peak", ".0%"),
        ("compile, s", "compile_seconds", ".2f"),
        ("to first step, s", "seconds_to_first_step", ".2f"),
        ("memory, MB", "peak_rss_mb", ",.0f"),
        ("device memory, MB", "peak_device_mb", ",.0f"),
    ],
    "likelihood": [
        ("images/s", "images_per_second", ",.2f"),
        ("ours / this", "ours_over_this", ".2f"),
        ("GFLOP/s", "gflops", ",.1f"),
        ("of its library's peak", "fraction_of_peak", ".0%"),
        ("-log p(x), nats", "loss_nats", ".3f"),
        ("memory, MB", "peak_rss_mb", ",.0f"),
        ("device memory, MB", "peak_device_mb", ",.0f"),
    ],
    "members": [
        ("all members, s", "seconds", ",.1f"),
        ("this / ours_members", "seconds_over_members", ".2f"),
        ("images/s after an epoch", "images_per_second", ",.0f"),
        ("throughput / plain run of ours", "throughput_over_plain", ".2f"),
        ("memory of a process, MB", "peak_rss_mb", ",.0f"),
    ],
    "startup": [
        ("to first step, cold, s", "cold_seconds", ".2f"),
        ("cached, s", "cached_seconds", ".2f"),
        ("memory, MB", "peak_rss_mb", ",.0f"),
    ],
    "scaling": [
        ("images/s", "images_per_second", ",.0f"),
        ("ms per step", "ms_per_step", ",.2f"),
        ("throughput / plain run of ours", "throughput_over_plain", ".2f"),
        ("GFLOP/s", "gflops", ",.1f"),
        ("of the peak", "fraction_of_peak", ".0%"),
        ("memory, MB", "peak_rss_mb", ",.0f"),
        ("device memory, MB", "peak_device_mb", ",.0f"),
        ("remark", "remark", ""),
    ],
}


def markdown(result: Mapping[str, Any]) -> str:
    """Return the machine, how it was measured and a table; what nobody has is left out, what failed is listed."""
    measured = [row for row in result["rows"] if "skipped" not in row]
    known = {key for row in measured for key, value in row.items() if value is not None}
    columns = [column for column in _AXIS + _CASE + _COLUMNS[result["what"]] if column[1] in known]
    lines = [f"# Benchmark: {result['what']}", "", *_machine(result["machine"]), *_how(result, measured), ""]
    if measured:
        lines += [_row([title for title, _, _ in columns]), _row(["---:" if form else "---" for *_, form in columns])]
    for row in measured:
        lines.append(_row([_text(row.get(key), form) for _, key, form in columns]))
    skipped = [row for row in result["rows"] if "skipped" in row]
    if skipped:
        lines += ["", "Not measured:", ""]
    for row in skipped:
        of = ", ".join(str(row[key]) for key in _NAMED_BY if key in row)
        lines.append(f"- {row['contender']}{f' ({of})' if of else ''}: {row['skipped']}")
    return "\n".join(lines) + "\n"


def _machine(machine: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    load = ", ".join(f"{value:.2f}" for value in machine["load_before"] or [])
    environment = " ".join(f"{name}={value}" for name, value in machine["environment"].items())
    return [
        f"- Machine: {machine['cpu']}, {machine['cores_allowed']} of {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {', '.join(machine['gpus']) or 'no GPU'}; {machine['os']}",
        f"- Load before the start (1, 5, 15 min): {load or 'unknown'}; {machine['started_utc']}",
        f"- Python {machine['python']}, {versions}; commit {machine['commit']}",
        f"- Command: `{' '.join(machine['command'])}`; environment: {environment or 'nothing of note'}",
    ]


def _how(result: Mapping[str, Any], measured: list[Mapping[str, Any]]) -> list[str]:
    plan = result["plan"]
    lines = [f"- Data: {'; '.join(f'{name}: {kind}' for name, kind in result['data'].items())}"]
    if result["what"] == "train":
        steps = [row["steps"] for row in measured] or [0]
        lines.append(f"- Medians of {plan['rounds']} rounds, in each {min(steps)} to {max(steps)} steps of a contender")
    elif result["what"] == "likelihood":
        lines.append(
            f"- Medians of {plan['rounds']} rounds over {plan['num_images']} pictures with k = {plan['num_samples']} "
            "samples each; a figure for more pictures would be an extrapolation"
        )
    elif result["what"] == "members":
        lines.append(
            f"- Medians of {plan['rounds']} rounds, in each {plan['num_members']} members, {plan['epochs']} epochs"
        )
    else:
        lines.append(f"- Medians of {plan['rounds']} rounds")
    busy = max((row["other_cores"] for row in measured if "other_cores" in row), default=None)
    if busy is not None:
        lines.append(f"- Other processes used up to {busy:.2f} cores during the timings of a contender (its median)")
    return lines


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
