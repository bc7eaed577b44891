"""What is measured by whole processes, from start to end: the first step, and many models against runs of one each."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
from collections.abc import Callable, Mapping

import numpy as np

from vae_jax.benchmark.process import Failed, Process
from vae_jax.benchmark.rounds import Folders, Plan, Row, Say, case, settings_of
from vae_jax.benchmark.settings import Setting, member_rates


def measure_startup(plan: Plan, folders: Folders, say: Say) -> list[Row]:
    """Return a row for each setting: seconds from the start of a process to the end of its first training step.

    Cold is with an empty folder for compiled programs, cached with that which the process before left.
    """

    def once(setting: Setting, cache: pathlib.Path) -> Row:
        cold, _ = _first_step(setting, cache)
        cached, memory = _first_step(setting, cache)
        return {"cold_seconds": cold, "cached_seconds": cached, **memory}

    return [row for settings in settings_of(plan, folders) for row in _in_rounds(settings, once, plan.rounds, say)]


def measure_members(plan: Plan, folders: Folders, say: Say) -> list[Row]:
    """Return a row for each way to train all members: in one process, or in one for each, one after another.

    seconds are those of all processes, start and compilation counted; images_per_second is that of all members of a
    process after its first epoch; throughput_over_plain compares it with the runs of one model.
    """

    def once(setting: Setting, cache: pathlib.Path) -> Row:
        per_epoch = len(np.load(pathlib.Path(setting.data, "train.npy"), mmap_mode="r")) // setting.batch_size
        if setting.contender == "ours_members":
            return _together(setting._replace(num_members=plan.num_members), cache, per_epoch * plan.epochs)
        settings = [
            setting._replace(seed=seed, learning_rate=rate) for seed, rate in enumerate(member_rates(plan.num_members))
        ]
        return _one_by_one(settings, cache, per_epoch, plan.epochs)

    rows = [_in_rounds(settings, once, plan.rounds, say) for settings in settings_of(plan, folders)]
    return [row for group in rows for row in _compared(group)]


def _compared(rows: list[Row]) -> list[Row]:
    """Return the rows of all ways to train some members, with how they stand to each other."""
    by_name = {row["contender"]: row for row in rows if "skipped" not in row}
    for row in by_name.values():
        if "ours_members" in by_name:
            row["seconds_over_members"] = row["seconds"] / by_name["ours_members"]["seconds"]
        if "ours" in by_name:
            row["throughput_over_plain"] = row["images_per_second"] / by_name["ours"]["images_per_second"]
    return rows


def _in_rounds(
    settings: Mapping[str, Setting], once: Callable[[Setting, pathlib.Path], Row], rounds: int, say: Say
) -> list[Row]:
    """Return a row for each contender, the medians of what `once` gives in each round, cold; and all of its values."""
    found: dict[str, list[Row]] = {name: [] for name in settings}
    skipped: dict[str, str] = {}
    for number in range(rounds):
        for name in [name for name in settings if name not in skipped]:
            with tempfile.TemporaryDirectory() as cache:
                try:
                    found[name].append(once(settings[name], pathlib.Path(cache)))
                except Failed as error:
                    skipped[name] = str(error)
            say(f"  round {number + 1}, {name}: {skipped.get(name) or found[name][-1]}")
    return [
        case(setting) | ({"skipped": skipped[name]} if name in skipped else _medians(found[name]))
        for name, setting in settings.items()
    ]


def _medians(rounds: list[Row]) -> Row:
    """Return the median of every figure, and its values by round."""
    known = [name for name, value in rounds[0].items() if value is not None]
    values = {name: [row[name] for row in rounds] for name in known}
    medians = {name: statistics.median(of) for name, of in values.items()}
    return medians | {f"{name}_by_round": of for name, of in values.items()}


def _first_step(setting: Setting, cache: pathlib.Path) -> tuple[float, Row]:
    """Return the seconds to the first step, and what memory the process used."""
    process = Process(setting, cache)
    try:
        process.run(1)
        return process.age, process.close()
    finally:
        process.kill()


def _together(setting: Setting, cache: pathlib.Path, steps: int) -> Row:
    process = Process(setting, cache)
    try:
        figures = process.run(steps)
        memory = process.close()
        rate, loss = figures["images_per_second"], figures["loss"]
        return {"seconds": process.age, "images_per_second": rate, "loss_nats": loss, **memory}
    finally:
        process.kill()


def _one_by_one(settings: list[Setting], cache: pathlib.Path, per_epoch: int, epochs: int) -> Row:
    seconds, rates, losses, memory = 0.0, [], [], []
    for setting in settings:
        process = Process(setting, cache)
        try:
            process.run(per_epoch)
            rest = process.run(per_epoch * (epochs - 1))
            memory.append(process.close()["peak_rss_mb"])
            seconds += process.age
        finally:
            process.kill()
        rates.append(per_epoch * (epochs - 1) * setting.batch_size / rest["seconds"])
        losses.append(rest["loss"])
    return {
        "seconds": seconds,
        "images_per_second": statistics.median(rates),
        "loss_nats": statistics.mean(losses),
        "peak_rss_mb": max(memory),
    }
