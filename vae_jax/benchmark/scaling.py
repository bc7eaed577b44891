"""How the cost of training grows when one thing is made larger at a time: batch, width, members, devices."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vae_jax.benchmark.rounds import Folders, Plan, Row, Runner, Say, case, figures, in_turn, over
from vae_jax.benchmark.settings import Setting, train_flops
from vae_jax.reporting.figures import Panel

_FEW = {"train": 12800, "validation": 256, "test": 64}  # pictures for members: 200 steps of 64 are an epoch
_QUICK = {"members": slice(0, 2), "devices": slice(1, 2)}  # points of a quick run: one, the first, of other axes
_UNITS = {  # by axis, what its values count
    "batch size": "batch size, pictures",
    "width": "width of the hidden layer, units",
    "members": "members, models in one program",
    "devices": "devices that share a batch",
}

Points = list[tuple[int, Setting]]  # (value on the axis, setting)


def measure_scaling(plan: Plan, folders: Folders, say: Say) -> list[Row]:
    """Return a row for each point of each axis; one with `skipped` could not be measured.

    The processes of an axis are timed in turn, round after round. ms_per_step is that of a step of all members.
    """
    (net,), (size,), (precision,) = plan.nets, plan.batch_sizes, plan.precisions
    base = Setting(plan.what, "ours", net, size, precision, str(folders[net]), devices=1)
    with tempfile.TemporaryDirectory() as folder:
        axes = _axes(base, _shortened(folders[net], pathlib.Path(folder)))
        return [row for axis, points in axes.items() for row in _along(axis, points, plan, say)]


def panels(rows: Sequence[Row]) -> list[Panel]:
    """Return what to plot of the rows: for each axis that was measured, milliseconds over its values."""
    found = []
    for axis, unit in _UNITS.items():
        of_axis = [row for row in rows if row["axis"] == axis and "ms_per_step" in row]
        plain = next((row["ms_per_step"] for row in of_axis if axis == "members" and row["contender"] == "ours"), None)
        lines = _lines([row for row in of_axis if plain is None or row["contender"] != "ours"])
        if not lines:
            continue
        values, times = next(iter(lines.values()))
        guides = {"in proportion": (values, [times[-1] * value / values[-1] for value in values])}
        if plain:
            guides = {"as many runs, one after another": (values, [plain * value for value in values])}
        if any("remark" in row for row in of_axis):
            unit += " (simulated: they share the cores)"
        found.append(Panel(unit, "time of a step, ms", lines, {} if axis == "devices" else guides))
    return found


def _axes(base: Setting, few: str) -> dict[str, Points]:
    """Return the points of each axis: those of one curve after another, each from small to large."""
    batches = [base, base._replace(precision="bf16")]
    single = base._replace(net="small_mlp", batch_size=64, data=few, devices=0)
    large = base._replace(batch_size=1024)
    return {
        "batch size": [
            *((size, curve._replace(batch_size=size)) for curve in batches for size in _doubled(32, 4096)),
            *((size, base._replace(net="conv", batch_size=size)) for size in _doubled(32, 1024)),
        ],
        "width": [(width, base._replace(hidden=width)) for width in _doubled(64, 4096)],
        "members": [
            (1, single._replace(devices=1)),
            *((m, single._replace(contender="ours_members", num_members=m)) for m in _doubled(1, 32)),
        ],
        "devices": [(count, large._replace(devices=count)) for count in _doubled(1, 4)],
    }


def _doubled(first: int, last: int) -> list[int]:
    return [first << i for i in range((last // first).bit_length())]


def _along(axis: str, points: Points, plan: Plan, say: Say) -> list[Row]:
    """Return the rows of one axis."""
    if plan.quick:
        points = points[_QUICK.get(axis, slice(0, 1))]
    settings = {f"{_curve(case(setting))}, {axis} {value}": setting for value, setting in points}
    peaks = {
        precision: Setting("matmul", "jax", batch_size=plan.peak_side, precision=precision, devices=1)
        for precision in sorted({setting.precision for setting in settings.values()})
    }
    say(f"{axis}: {len(points)} settings")
    runners, skipped = in_turn({**settings, **peaks}, plan, say, _ready)
    plain, rows = next(iter(settings)) if axis == "members" else None, []
    for (name, setting), (value, _) in zip(settings.items(), points, strict=True):
        row = {"axis": axis, "value": value, **case(setting)}
        if name in runners:
            row |= _measured(runners[name], runners.get(setting.precision))
            say(f"  {name}: {row['images_per_second']:,.1f} images/s, {row['ms_per_step']:,.2f} ms per step")
            if plain in runners:
                row["throughput_over_plain"] = over(runners[name], runners[plain], setting.batch_size)
        else:
            row["skipped"] = skipped[name]
        rows.append(row)
    return rows


class _Together(Runner):
    """Members, trained anew in each timing; their rate is that after the first epoch, before which they compile."""

    def warm_up(self, plan: Plan) -> None:
        """Compile, and find out how many epochs to train."""
        pictures = len(np.load(pathlib.Path(self.setting.data, "train.npy"), mmap_mode="r"))
        steps = pictures // self.setting.batch_size
        rate = self.process.run(2 * steps)["images_per_second"]
        epochs = plan.seconds * rate / (steps * self.setting.batch_size * self.setting.num_members)
        self.count = steps * (1 + max(1, round(epochs)))

    def rates(self, _: int) -> list[float]:
        """Return the pictures of all members per second, by timing."""
        return [timing["images_per_second"] for timing in self.timings]


def _ready(setting: Setting, cache: pathlib.Path, plan: Plan) -> Runner:
    return (_Together if setting.num_members else Runner)(setting, cache, plan)


def _measured(runner: Runner, peak: Runner | None) -> Row:
    """Return the figures of a point."""
    setting, device = runner.setting, runner.process.device
    found = figures(runner, setting.batch_size, train_flops(setting.sizes), peak)
    found["steps"] = runner.count
    found["ms_per_step"] = 1e3 * setting.batch_size * max(1, setting.num_members) / found["images_per_second"]
    if not device.startswith("cpu") and peak:
        found["fraction_of_peak"] /= device.count(",") + 1  # the peak is that of one device
    elif setting.devices > 1:
        found["remark"] = "simulated devices: they share the cores of the machine"
    return found


def _lines(rows: Sequence[Row]) -> dict[str, tuple[list[int], list[float]]]:
    """Return values and milliseconds of each curve."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for row in rows:
        values, times = found.setdefault(_curve(row), ([], []))
        values.append(row["value"])
        times.append(row["ms_per_step"])
    return found


def _curve(row: Mapping[str, Any]) -> str:
    together = " together" if row["contender"] == "ours_members" else ""
    return f"{row['net']} {row['precision']}{together}"


def _shortened(data: pathlib.Path, folder: pathlib.Path) -> str:
    """Write the first pictures of every split into a folder, and return it."""
    for split, size in _FEW.items():
        np.save(folder / f"{split}.npy", np.load(data / f"{split}.npy", mmap_mode="r")[:size])
    return str(folder)
