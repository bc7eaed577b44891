"""The folder of a sweep: what its files say, whatever process has died."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.processes import wait_until
from vae_jax.errors import ConfigError, OutputError, StorageError
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.plan import resolve
from vae_jax.sweeps.points import grid

ASKED = {"schema": 1, "config": "configs/digits.py", "common": {}}


def points(num):
    return resolve("configs/digits.py", grid({"seed": range(num)}), {})


@pytest.fixture
def path(tmp_path):
    with sweeps.open_sweep(tmp_path / "sweep", ASKED) as path:
        yield path


def write(path, run, name, content):
    (path / "runs" / run / name).write_text(json.dumps(content))


def test_runs_have_a_folder_each_and_a_larger_sweep_adds_to_them(path):
    assert sweeps.add_runs(path, points(2)) == ["0000", "0001"]
    assert sweeps.add_runs(path, points(4)[::-1]) == ["0002", "0003", "0001", "0000"]
    assert sweeps.read_point(path, "0001")["overrides"] == {"seed": 1}


def test_a_run_folder_that_is_not_whole_is_made_anew(path):
    (path / "runs" / "0000").mkdir()
    (path / "runs" / "0000" / "config.json").write_text("{")
    assert sweeps.add_runs(path, points(1)) == ["0000"]
    assert json.loads((path / "runs" / "0000" / "config.json").read_text())["seed"] == 0


def test_a_run_that_someone_has_deleted_is_made_anew_by_another_name(path):
    sweeps.add_runs(path, points(4))
    job = sweeps.add_job(path, sweeps.run_names(path), {})
    for run in sweeps.run_names(path):
        write(path, run, "results.json", {"test": {}})
    for run in "0001", "0003":
        shutil.rmtree(path / "runs" / run)
    sweeps.check_jobs(path)
    assert sweeps.add_runs(path, points(4)) == ["0000", "0004", "0002", "0005"]
    assert [sweeps.status(path, run) for run in ("0000", "0002")] == ["done", "done"]
    assert sweeps.open_runs(path, job) == []
    assert sweeps.without_job(path) == ["0004", "0005"]


def test_a_group_does_not_go_on_without_one_of_its_runs(path):
    job = sweeps.add_job(path, sweeps.add_runs(path, points(3)), {})
    sweeps.check_jobs(path)
    shutil.rmtree(path / "runs" / "0001")
    with pytest.raises(ConfigError, match=f"0001 is gone, and job {job}, which is not finished, trains it with 2 oth"):
        sweeps.check_jobs(path)


def test_a_run_is_what_its_files_say(path):
    sweeps.add_runs(path, points(5))
    write(path, "0000", "results.json", {"test": {}})
    write(path, "0001", "results.json", {"test": {}, "stopped": "request"})
    sweeps.write_failure(path, "0002", 76, "loss is nan")
    found = [sweeps.status(path, run, frozenset({"0003"})) for run in sweeps.run_names(path)]
    assert found == ["done", "stopped", "failed", "running", "waiting"]
    assert [run for run in sweeps.run_names(path) if sweeps.is_open(path, run)] == ["0003", "0004"]


def test_a_folder_whose_driver_was_killed_at_once_has_no_jobs(path):
    shutil.rmtree(path / "jobs")
    assert sweeps.job_names(path) == [] and sweeps.live_runs(path) == frozenset()


def test_there_is_no_last_job(path):
    runs = sweeps.add_runs(path, points(3))
    (path / "jobs" / "9998.json").write_text(json.dumps({"runs": [], "given_up": []}))
    assert [sweeps.add_job(path, [run], {}) for run in runs] == ["9999", "10000", "10001"]
    assert sweeps.job_names(path) == ["9998", "9999", "10000", "10001"]
    assert sweeps.without_job(path) == []


def test_a_run_that_is_done_does_not_fail(path):
    sweeps.add_runs(path, points(1))
    write(path, "0000", "results.json", {"test": {}})
    sweeps.write_failure(path, "0000", 1, "too late")
    assert sweeps.status(path, "0000") == "done"


def test_failed_runs_run_again_in_jobs_of_their_own(path):
    sweeps.add_runs(path, points(3))
    first = sweeps.add_job(path, ["0000", "0001"], {})
    assert (sweeps.without_job(path), sweeps.open_runs(path, first)) == (["0002"], ["0000", "0001"])
    sweeps.write_failure(path, "0001", 76, "loss is nan")
    assert sweeps.without_job(path) == ["0002"]
    assert sweeps.forget_failures(path) == 1
    assert sweeps.without_job(path) == ["0001", "0002"]
    assert sweeps.open_runs(path, first) == ["0000"]
    assert sweeps.read_job(path, first)["runs"] == ["0000", "0001"]  # the group is resumed as it was begun
    assert sweeps.add_job(path, ["0001"], {}) == "0001"


def test_a_job_runs_while_a_process_holds_its_lock(path):
    sweeps.add_runs(path, points(1))
    job = sweeps.add_job(path, ["0000"], {})
    assert not sweeps.live_jobs(path)
    code = "import pathlib, sys, time; from vae_jax.sweeps.folder import held\n"
    code += "with held(pathlib.Path(sys.argv[1]), 'job'): print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, path / "jobs" / f"{job}.lock"], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert sweeps.live_jobs(path) == {job} and sweeps.live_runs(path) == {"0000"}
        lock = path / "jobs" / f"{job}.lock"
        sweeps.write_failure(path, "0000", 76, "loss is nan")
        with pytest.raises(ConfigError, match="run 0000 has failed, but its job still trains others"):
            sweeps.forget_failures(path)
        with pytest.raises(OutputError, match=f"job is in use by process {process.pid}"), sweeps.held(lock, "job"):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert wait_until(lambda: not sweeps.live_jobs(path))


def test_another_sweep_another_driver_and_another_folder_are_refused(path, tmp_path):
    with pytest.raises(OutputError, match="in use by"), sweeps.open_sweep(path, ASKED):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(OutputError, match="holds no sweep"), sweeps.open_sweep(tmp_path / "other", ASKED):
        pass
    with pytest.raises(OutputError, match="cannot be written"), sweeps.open_sweep(tmp_path / "other" / "file", ASKED):
        pass
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["file"]


def test_what_was_asked_for_stays(tmp_path):
    with sweeps.open_sweep(tmp_path / "a", ASKED):
        pass
    with sweeps.open_sweep(tmp_path / "a", ASKED) as path:
        assert sweeps.read_sweep(path) == ASKED
    other, message = ASKED | {"config": "configs/mnist.py"}, r"config: configs/digits\.py -> configs/mnist\.py"
    with pytest.raises(ConfigError, match=message), sweeps.open_sweep(tmp_path / "a", other):
        pass


def test_a_folder_that_is_none_and_damage_are_told(tmp_path, path):
    with pytest.raises(ConfigError, match="is no sweep"):
        sweeps.read_sweep(tmp_path)
    (path / "sweep.json").write_text("{")
    with pytest.raises(StorageError, match="json cannot be read"):
        sweeps.read_sweep(path)
    with pytest.raises(ConfigError, match="no job '0007'"):
        sweeps.read_job(path, "0007")
