"""Searches: asked batch after batch, from run folders and nothing else."""

import json
import shutil

import pytest

from tests.sweeps.fake_search import (
    Runs,
    drive,
    loss_of,
    make_search,
    part_of,
    points_of,
    resolve,
    trials_of,
    values_of,
)
from vae_jax.errors import ConfigError, StorageError
from vae_jax.sweeps import driver, report
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.points import choice, grid
from vae_jax.sweeps.search import first_batch
from vae_jax.sweeps.table import make_rows


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(driver, "_POLL_SECONDS", 0)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "sweep"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_POLL_SECONDS", 0)
        drive(path, make_search())
    return path


def test_each_batch_is_one_job_and_the_copy_has_every_trial(done):
    assert [sweeps.read_job(done, job)["runs"] for job in sweeps.job_names(done)] == [
        [f"{number:04d}" for number in range(first, first + 4)] for first in (0, 4, 8, 12)
    ]
    trials = trials_of(done)
    assert sorted(trials) == sweeps.run_names(done)
    for run, overrides in zip(sweeps.run_names(done), points_of(done), strict=True):
        assert trials[run].params == overrides
        assert trials[run].value == loss_of(overrides, 3)
        assert list(trials[run].intermediate_values) == [1, 2, 3]


def test_the_same_seed_asks_for_the_same_points(done, tmp_path):
    drive(tmp_path / "again", make_search())
    drive(tmp_path / "other", make_search(seed=1))
    drive(tmp_path / "random", make_search("random"))
    assert points_of(tmp_path / "again") == points_of(done)
    assert not any(point in points_of(done) for point in points_of(tmp_path / "other"))
    told = [a == b for a, b in zip(points_of(tmp_path / "random"), points_of(done), strict=True)]
    assert all(told[:8]) and not any(told[12:])  # what has been told makes the difference


def test_a_search_goes_on_to_a_larger_number(done, tmp_path):
    drive(tmp_path, make_search(num=8))
    launcher = drive(tmp_path, make_search(num=16))
    assert points_of(tmp_path) == points_of(done)
    assert launcher.ran == sweeps.run_names(tmp_path)[8:]


def test_pictures_of_a_search_show_how_far_it_has_come(done, tmp_path, monkeypatch):
    path, drawn = part_of(done, tmp_path, 16), {}
    (path / "sweep.json").write_text(json.dumps({"search": {"metric": None}}))
    monkeypatch.setattr(report, "save_lines", lambda part, lines, _: drawn.update(lines) or part.write_text("picture"))
    report.draw(path, make_rows(path), "validation.loss")
    assert (path / "pictures" / "search-validation.neg_elbo_nats.png").exists()
    losses = [loss_of(point, 3) for point in points_of(path)]
    assert drawn["lowest so far"] == ([*range(1, 17)], [min(losses[:number]) for number in range(1, 17)])


class Killed(BaseException):
    """As kill -9 is: nobody catches it."""


@pytest.mark.parametrize("writes", [pytest.param(2, marks=pytest.mark.long), 3])
def test_a_driver_killed_at_any_write_loses_and_doubles_nothing(done, tmp_path, monkeypatch, writes):
    writers, left = (sweeps.write_json, sweeps.write_text), 0

    def dying(writer):
        def write(*args):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            writer(*args)

        return write

    for name, writer in zip(("write_json", "write_text"), writers, strict=True):
        monkeypatch.setattr(sweeps, name, dying(writer))
    path, killed = part_of(done, tmp_path, 8), 0
    while True:  # each driver comes so many writes further, so that in the end one of them died at every one
        left = writes
        try:
            drive(path, make_search())
            break
        except Killed:
            killed += 1
    assert killed >= 18 // (writes + 1)
    assert points_of(path) == points_of(done)
    jobs = [run for job in sweeps.job_names(path) for run in sweeps.read_job(path, job)["runs"]]
    assert sorted(jobs) == sweeps.run_names(path)  # each in one job
    assert values_of(path) == values_of(done)


@pytest.mark.parametrize("results", [0, 2])
def test_a_driver_killed_while_runs_train_takes_them_up(done, tmp_path, results):
    path = part_of(done, tmp_path, 12)
    for run in sweeps.run_names(path)[8 + results :]:
        (path / "runs" / run / "results.json").unlink()
        (path / "runs" / run / "metrics.jsonl").unlink()
    launcher = drive(path, make_search())
    assert launcher.ran == sweeps.run_names(path)[8 + results :]
    assert points_of(path) == points_of(done)


def test_a_damaged_copy_is_made_anew(done, tmp_path):
    path = tmp_path / "sweep"
    shutil.copytree(done, path)
    (path / "study.db").write_bytes(b"no database" * 1000)
    assert drive(path, make_search()).ran == []
    assert sorted(trials_of(path)) == sweeps.run_names(path)


def test_a_copy_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "study.db").mkdir(parents=True)
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(StorageError, match=r"study.db cannot be written: .*; no run is lost"):
        drive(tmp_path, make_search())


@pytest.mark.parametrize("prune", ["asha", "hyperband"])
def test_bad_runs_end_early_and_are_told_as_pruned(tmp_path, prune):
    said = []
    drive(tmp_path, make_search("grid", 8, prune, ranges={}, points=BETAS), said=said, length=9)
    states = {run: sweeps.status(tmp_path, run) for run in sweeps.run_names(tmp_path)}
    assert states["0000"] == "done"  # beta = 1 is the best
    stopped = [run for run, state in states.items() if state == "stopped"]
    assert 2 <= len(stopped) < 8
    assert {line.split()[1] for line in said if "is ended early" in line} == set(stopped)
    for run, trial in trials_of(tmp_path).items():
        assert trial.state.name == ("PRUNED" if run in stopped else "COMPLETE")
        place = len((tmp_path / "runs" / run / "metrics.jsonl").read_text().splitlines())
        assert trial.value == loss_of(sweeps.read_point(tmp_path, run)["overrides"], place)
    assert points_of(tmp_path) == [{"hypers.beta": float(point["hypers.beta"])} for point in BETAS]


BETAS = grid({"hypers.beta": ("1", "8", "7", "6", "5", "4", "3", "2")})


def test_of_members_in_step_the_best_goes_on(tmp_path):
    drive(tmp_path, make_search("grid", 4, "asha", ranges={}, points=BETAS[3::-1]), length=9)
    assert [sweeps.status(tmp_path, run) for run in sweeps.run_names(tmp_path)] == ["stopped"] * 3 + ["done"]


def test_the_next_driver_compares_with_what_the_last_one_saw(tmp_path):
    for num in (4, 8):
        drive(tmp_path, make_search("grid", num, "asha", ranges={}, points=BETAS), length=9)
    assert sweeps.status(tmp_path, "0007") == "stopped"  # the best of its batch, but there was a better one


def test_a_log_that_is_cut_short_and_written_again_is_told_once(tmp_path):
    class Resumed(Runs):
        def validate(self, run):
            log = self.path / "runs" / run / "metrics.jsonl"
            lines = log.read_text().splitlines(keepends=True) if log.exists() else []
            if len(lines) == 2 and run not in self.ran:
                self.ran.append(run)
                log.write_text(lines[0] + lines[1][:9])  # the next one writes the second row once more
            elif lines and not lines[-1].endswith("\n"):
                log.write_text(lines[0])
                super().validate(run)
            else:
                super().validate(run)

    drive(tmp_path, make_search("random", 2, "hyperband"), Resumed, length=4)
    for trial in trials_of(tmp_path).values():
        assert list(trial.intermediate_values) == [1, 2, 3, 4]


def test_a_run_that_fails_is_told_so_and_not_asked_for_again_but_for_retry(tmp_path):
    def loss(overrides, place):
        return None if overrides == points[1] else loss_of(overrides, place)

    points = [point.overrides for point in first_batch(make_search(), resolve)]
    drive(tmp_path, make_search(num=8), loss=loss)
    assert [trial.state.name for trial in trials_of(tmp_path).values()].count("FAIL") == 1
    assert drive(tmp_path, make_search(num=8), loss=loss).ran == []
    before = points_of(tmp_path)
    assert before[:4] == points
    assert sweeps.forget_failures(tmp_path) == 1
    assert drive(tmp_path, make_search(num=8)).ran == ["0001"]
    assert points_of(tmp_path) == before
    assert trials_of(tmp_path)["0001"].value == loss_of(points[1], 3)


def test_a_small_space_is_gone_through_once(tmp_path):
    said = []
    drive(tmp_path, make_search(ranges={"hypers.beta": choice("0.5", "1", "2", "3", "4", "5")}), said=said)
    assert sorted(point["hypers.beta"] for point in points_of(tmp_path)) == [0.5, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert any("the search ends with 6 runs" in line for line in said)


@pytest.mark.parametrize("limit", [1, 0])
def test_a_point_that_is_no_config_is_passed_over(limit):
    def picky(overrides):
        if overrides["hypers.beta"] > limit:
            raise ConfigError("too large")
        return resolve(overrides)

    if limit:
        assert len(first_batch(make_search(), picky)) == 4
    else:
        with pytest.raises(ConfigError, match="too large"):
            first_batch(make_search(), picky)


def test_a_figure_that_no_run_has_ends_the_search_and_its_jobs(tmp_path):
    with pytest.raises(ConfigError, match=r"metric=validation\.los: .*did you mean.*it has: validation\.loss"):
        drive(tmp_path, make_search(prune="asha", metric="validation.los"))


@pytest.mark.parametrize(
    ("sampler", "where"),
    [
        ("grid", {"ranges": {}, "points": grid({"hypers.beta": ["1", "2", "4"]})}),
        ("random", {"ranges": {"hypers.beta": choice("1", "2", "4")}}),
        ("tpe", {"ranges": {"hypers.beta": choice("1", "2", "4")}}),
    ],
)
def test_values_that_were_asked_for_as_text_are_taken_up(sampler, where, tmp_path):
    drive(tmp_path, make_search(sampler, 2, **where))
    assert drive(tmp_path, make_search(sampler, 2, **where)).ran == []
    assert len(drive(tmp_path, make_search(sampler, 3, **where)).ran) == 1
    assert sorted(point["hypers.beta"] for point in points_of(tmp_path)) == [1.0, 2.0, 4.0]


def test_runs_of_another_grid_are_refused(tmp_path):
    drive(tmp_path, make_search("grid", 2, ranges={}, points=BETAS))
    with pytest.raises(ConfigError, match=r"runs/0001 .* is no run of this search"):
        drive(tmp_path, make_search("grid", 3, ranges={}, points=BETAS[::2]))
