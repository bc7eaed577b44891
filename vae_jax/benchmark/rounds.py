"""Training and likelihoods side by side: all contenders are started, then measured in turn, round after round."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vae_jax.benchmark.process import Failed, Process
from vae_jax.benchmark.settings import NETS, Setting, library, likelihood_flops, train_flops

Row = dict[str, Any]
Folders = Mapping[str, pathlib.Path]  # of the data, by network
Say = Callable[[str], None]


class Plan(NamedTuple):
    """What to measure."""

    what: str  # train, likelihood, members or startup
    contenders: list[str]
    nets: list[str]
    batch_sizes: list[int]
    precisions: list[str]
    rounds: int
    seconds: float  # that one timing of training is to take
    num_images: int  # pictures in one timing of a likelihood
    num_samples: int  # k of the likelihood
    num_members: int
    epochs: int  # of the members, 2 or more
    peak_side: int  # of the matrices whose product gives the peak


def settings_of(plan: Plan, folders: Folders) -> list[dict[str, Setting]]:
    """Return, for each network, batch size and precision, the setting of every contender."""
    return [
        {
            name: Setting(plan.what, name, net, size, precision, str(folders[net]), num_samples=plan.num_samples)
            for name in plan.contenders
        }
        for net in plan.nets
        for size in plan.batch_sizes
        for precision in plan.precisions
    ]


def measure(plan: Plan, folders: Folders, say: Say) -> list[Row]:
    """Return a row for each setting of training or of a likelihood; one with `skipped` could not be measured."""
    return [row for settings in settings_of(plan, folders) for row in _side_by_side(settings, plan, say)]


def case(setting: Setting) -> Row:
    """Return what names a row."""
    return {
        "net": setting.net,
        "batch_size": setting.batch_size,
        "precision": setting.precision,
        "contender": setting.contender,
    }


def _side_by_side(settings: Mapping[str, Setting], plan: Plan, say: Say) -> list[Row]:
    any_setting = next(iter(settings.values()))
    peaks = {
        f"peak of {name}": Setting("matmul", name, batch_size=plan.peak_side, precision=any_setting.precision)
        for name in sorted({library(contender) for contender in settings})
    }
    say(f"{any_setting.net}, batch {any_setting.batch_size}, {any_setting.precision}")
    with tempfile.TemporaryDirectory() as cache:
        runners, skipped = {}, {}
        for name, setting in {**settings, **peaks}.items():
            try:
                runners[name] = _Runner(setting, pathlib.Path(cache, name), plan)
            except Failed as error:
                skipped[name] = str(error)
        for number in range(plan.rounds):
            for name in list(runners)[:: 1 if number % 2 else -1]:
                _guarded(name, runners, skipped, lambda runner: runner.time())
        for name in list(runners):
            _guarded(name, runners, skipped, lambda runner: runner.end())
    for name, reason in skipped.items():
        say(f"  {name}: not measured: {reason}")
    rates = {name: runners[name].rates(2 * plan.peak_side**3) for name in peaks if name in runners}
    figures = {name: _figures(name, runners, rates, plan) for name in settings if name in runners}
    for name, row in figures.items():
        say(f"  {name}: {row['images_per_second']:,.1f} images/s")
    return [
        case(setting) | (figures[name] if name in figures else {"skipped": skipped[name]})
        for name, setting in settings.items()
    ]


class _Runner:
    """A contender that is ready, warmed up and knows how much to do in one timing."""

    def __init__(self, setting: Setting, cache: pathlib.Path, plan: Plan):
        self.setting, self.timings, self.memory = setting, [], {}
        self.process = Process(setting, cache)
        try:
            first = self.process.run(1)["seconds"]
            self.seconds_to_first_step = self.process.age
            again = min(self.process.run(1)["seconds"] for _ in range(2))
            self.compile_seconds = max(0.0, first - again)
            self.count = plan.num_images if setting.what == "likelihood" else self._suitable_count(plan.seconds)
            self.process.run(self.count)  # nothing is to be compiled in a timing
        except Failed:
            self.process.kill()
            raise

    def _suitable_count(self, seconds: float) -> int:
        """Return how much to do in so many seconds."""
        count = 3
        for _ in range(2):
            count = max(1, round(count * seconds / self.process.run(count)["seconds"]))
        return count

    def time(self) -> None:
        """Take one timing."""
        self.timings.append(self.process.run(self.count))

    def end(self) -> None:
        """End the process, and keep what memory it used."""
        self.memory = self.process.close()

    def rates(self, per_count: int) -> list[float]:
        """Return how many per second each timing gives, where a count of one is so many."""
        return [self.count * per_count / timing["seconds"] for timing in self.timings]


def _guarded(
    name: str, runners: dict[str, _Runner], skipped: dict[str, str], action: Callable[[_Runner], None]
) -> None:
    """Do something with a runner; one that fails leaves the measurement with its reason."""
    try:
        action(runners[name])
    except Failed as error:
        skipped[name] = str(error)
        runners.pop(name).process.kill()


def _figures(name: str, runners: Mapping[str, _Runner], peaks: Mapping[str, list[float]], plan: Plan) -> Row:
    runner, net = runners[name], NETS[runners[name].setting.net]
    training = plan.what == "train"
    per_count = runner.setting.batch_size if training else 1
    rates = runner.rates(per_count)
    rate = statistics.median(rates)
    flops = train_flops(net) if training else likelihood_flops(net, plan.num_samples)
    found = {
        "images_per_second": rate,
        "images_per_second_by_round": rates,
        "steps" if training else "num_images": runner.count,
        "gflops": rate * flops / 1e9,
        "compile_seconds": runner.compile_seconds,
        "other_cores": statistics.median(timing["other_cores"] for timing in runner.timings),
        "loss_nats": runner.timings[-1]["loss"],
        "device": runner.process.device,
        **runner.memory,
    }
    if training:
        found["seconds_to_first_step"] = runner.seconds_to_first_step
    if peak := peaks.get(f"peak of {library(name)}"):
        found["peak_gflops"] = statistics.median(peak) / 1e9
        found["fraction_of_peak"] = found["gflops"] / found["peak_gflops"]
    if "ours" in runners:
        ours = runners["ours"].rates(per_count)
        found["ours_over_this"] = statistics.median(a / b for a, b in zip(ours, rates, strict=True))
    return found
