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

    what: str  # train, likelihood, members, startup or scaling
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
    quick: bool = False  # of scaling: only the first points


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
    runners, skipped = in_turn({**settings, **peaks}, plan, say)
    rows = {name: _compared(name, runners, plan) for name in settings if name in runners}
    for name, row in rows.items():
        say(f"  {name}: {row['images_per_second']:,.1f} images/s")
    return [
        case(setting) | (rows[name] if name in rows else {"skipped": skipped[name]})
        for name, setting in settings.items()
    ]


class Runner:
    """A contender that is ready, warmed up and knows how much to do in one timing."""

    def __init__(self, setting: Setting, cache: pathlib.Path, plan: Plan):
        self.setting, self.timings, self.memory = setting, [], {}
        self.process = Process(setting, cache)
        try:
            self.warm_up(plan)
        except Failed:
            self.process.kill()
            raise

    def warm_up(self, plan: Plan) -> None:
        """Compile, and find out how much to do in one timing."""
        first = self.process.run(1)["seconds"]
        self.seconds_to_first_step = self.process.age
        again = min(self.process.run(1)["seconds"] for _ in range(2))
        self.compile_seconds = max(0.0, first - again)
        self.count = plan.num_images if self.setting.what == "likelihood" else self._suitable_count(plan.seconds)
        self.process.run(self.count)  # nothing is to be compiled in a timing

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


def in_turn(
    settings: Mapping[str, Setting], plan: Plan, say: Say, start: Callable[..., Runner] = Runner
) -> tuple[dict[str, Runner], dict[str, str]]:
    """Start a process for each setting, time all in turn in every round, end them; return them, and why some failed.

    Args:
        settings: by name.
        plan: how many rounds of how long.
        say: is told of those that fail.
        start: (setting, cache, plan) -> what is ready for its timings.
    """
    runners, skipped = {}, {}
    with tempfile.TemporaryDirectory() as cache:
        for name, setting in settings.items():
            try:
                runners[name] = start(setting, pathlib.Path(cache, name), plan)
            except Failed as error:
                skipped[name] = str(error)
        for number in range(plan.rounds):
            for name in list(runners)[:: 1 if number % 2 else -1]:
                _guarded(name, runners, skipped, lambda runner: runner.time())
        for name in list(runners):
            _guarded(name, runners, skipped, lambda runner: runner.end())
    for name, reason in skipped.items():
        say(f"  {name}: not measured: {reason}")
    return runners, skipped


def _guarded(name: str, runners: dict[str, Runner], skipped: dict[str, str], action: Callable[[Runner], None]) -> None:
    """Do something with a runner; one that fails leaves the measurement with its reason."""
    try:
        action(runners[name])
    except Failed as error:
        skipped[name] = str(error)
        runners.pop(name).process.kill()


def figures(runner: Runner, per_count: int, flops: int, peak: Runner | None) -> Row:
    """Return what each row says of a runner.

    Args:
        runner: one that has ended.
        per_count: pictures in a count of one.
        flops: operations for a picture.
        peak: of matrix products, in the same rounds; None where it failed.
    """
    rates = runner.rates(per_count)
    rate = statistics.median(rates)
    found = {
        "images_per_second": rate,
        "images_per_second_by_round": rates,
        "gflops": rate * flops / 1e9,
        "other_cores": statistics.median(timing["other_cores"] for timing in runner.timings),
        "loss_nats": runner.timings[-1]["loss"],
        "device": runner.process.device,
        **runner.memory,
    }
    if peak:
        found["peak_gflops"] = statistics.median(peak.rates(2 * peak.setting.batch_size**3)) / 1e9
        found["fraction_of_peak"] = found["gflops"] / found["peak_gflops"]
    return found


def _compared(name: str, runners: Mapping[str, Runner], plan: Plan) -> Row:
    """Return the row of a contender, with how it stands to ours and what it took to start."""
    runner, net, training = runners[name], NETS[runners[name].setting.net], plan.what == "train"
    per_count = runner.setting.batch_size if training else 1
    flops = train_flops(net) if training else likelihood_flops(net, plan.num_samples)
    found = figures(runner, per_count, flops, runners.get(f"peak of {library(name)}"))
    found["steps" if training else "num_images"] = runner.count
    found["compile_seconds"] = runner.compile_seconds
    if training:
        found["seconds_to_first_step"] = runner.seconds_to_first_step
    if "ours" in runners:
        found["ours_over_this"] = over(runners["ours"], runner, per_count)
    return found


def over(a: Runner, b: Runner, per_count: int) -> float:
    """Return how many times as fast one is as another, the median over rounds."""
    pairs = zip(a.rates(per_count), b.rates(per_count), strict=True)
    return statistics.median(mine / other for mine, other in pairs)
