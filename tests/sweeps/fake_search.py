"""Searches whose runs are stood in for by a function."""

import json
import shutil

import ml_collections
import optuna

from vae_jax import config as configs
from vae_jax.sweeps import driver
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.plan import Point, grouped
from vae_jax.sweeps.points import log_uniform
from vae_jax.sweeps.search import Around, Search, make_source
from vae_jax.sweeps.study import Space

BASE = configs.load("configs/digits.py:runlocal", {})
RANGES = {"hypers.beta": log_uniform(0.1, 10), "hypers.learning_rate": log_uniform(1e-4, 1e-2)}


def resolve(overrides):
    config = ml_collections.ConfigDict(BASE)
    with config.unlocked():
        for name, value in overrides.items():
            config.update_from_flattened_dict({name: type(config.hypers.beta)(value)})
    values = {name: float(value) for name, value in overrides.items()}
    return Point(values, ml_collections.FrozenConfigDict(config), dict(overrides))


def loss_of(overrides, place):
    """What a run of three validations says at one of them: a bowl, best at beta = 1 and a rate of 1e-3."""
    beta, rate = float(overrides["hypers.beta"]), float(overrides.get("hypers.learning_rate", 1e-3))
    return abs(beta - 1) + abs(rate - 1e-3) * 1000 + 1 / place


class Runs:
    """A launcher whose jobs write one validation each time they are looked at; a run without a loss fails."""

    def __init__(self, path, loss=loss_of, length=3):
        self.path, self.loss, self.length = path, loss, length
        self.jobs, self.ran = [], []

    def submit(self, tasks, _):
        self.jobs += [task.name for task in tasks]
        return [task.name for task in tasks]

    def running(self):
        for job in self.jobs:
            for run in sweeps.open_runs(self.path, job):
                self.validate(run)
        self.jobs = [job for job in self.jobs if sweeps.open_runs(self.path, job)]
        return set(self.jobs)

    def ended(self):
        return {}

    def stop(self):
        self.jobs = []

    def validate(self, run):
        folder, overrides = self.path / "runs" / run, sweeps.read_point(self.path, run)["overrides"]
        log = folder / "metrics.jsonl"
        place = len(log.read_text().splitlines()) + 1 if log.exists() else 1
        asked = (folder / "STOP").exists()
        value = self.loss(overrides, place)
        if value is None:
            sweeps.write_failure(self.path, run, 76, "the loss is not finite")
            return
        with open(log, "a") as file:
            row = {"step": 10 * place, "split": "validation", "loss": value, "neg_elbo_nats": value}
            file.write(json.dumps(row) + "\n")
        if asked or place == self.length:
            self.ran.append(run)
            content = {"test": {}, "baselines": {}, "best_step": 10 * place, "steps": 10 * place}
            content |= {"stopped": "request"} if asked and place < self.length else {}
            (folder / "results.json").write_text(json.dumps(content))


def make_search(sampler="tpe", num=16, prune="none", seed=0, ranges=RANGES, points=(), metric=None):
    return Search(Space(sampler, seed, ranges, points), num, 4, prune, metric, 3)


def drive(path, search, kind=Runs, said=None, **runs):
    """Run a search as the command does, and return its launcher."""
    launcher = kind(path, **runs)
    say = (said if said is not None else []).append

    def add_jobs():
        driver.plan_jobs(path, None, lambda groups: [{}] * len(groups), grouped)

    with sweeps.open_sweep(path, {}):
        source = make_source(path, search, Around(resolve, add_jobs, say))
        driver.drive(path, launcher, driver.Settings(), say, source)
    return launcher


def points_of(path):
    return [sweeps.read_point(path, run)["overrides"] for run in sweeps.run_names(path)]


def trials_of(path):
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{path / 'study.db'}")
    return {trial.user_attrs["run"]: trial for trial in study.trials}


def values_of(path):
    return {run: trial.value for run, trial in trials_of(path).items()}


def part_of(done, tmp_path, count):
    """Return a copy of a search that has come to `count` runs."""
    path = tmp_path / "sweep"
    shutil.copytree(done, path)
    for run in sweeps.run_names(path)[count:]:
        shutil.rmtree(path / "runs" / run)
    for job in sweeps.job_names(path)[count // 4 :]:
        (path / "jobs" / f"{job}.json").unlink()
    return path
