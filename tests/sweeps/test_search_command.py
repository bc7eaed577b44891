"""A search by the command itself, its driver killed on the way."""

import json

import optuna
import pytest

from tests.faults.process import finish, start, wait_for
from tests.sweeps.test_command import run_command
from vae_jax.reporting.log import read_rows
from vae_jax.sweeps import estimate
from vae_jax.sweeps import folder as sweeps

FLAGS = [
    "--config=configs/digits.py:runlocal",
    "--range=hypers.beta=log_uniform(0.1,10)",
    "--search=random",
    "--num=4",
    "--parallel=2",
    "--config.model.encoder.hidden=4",
    "--config.evaluate.num_importance_samples=2",
]


@pytest.mark.long
def test_a_search_whose_driver_is_killed_ends_with_each_run_once(tmp_path):
    path = tmp_path / "sweep"
    command = ["scripts/sweep.py", *FLAGS, f"--workdir={path}"]
    first = start(command)
    assert wait_for(first, (path / "jobs" / "0001.log").exists), first.communicate()
    first.kill()
    first.communicate()
    code, out, err = finish(command)
    assert code == 0, err
    assert "4 runs: 4 done" in out
    assert [sweeps.read_job(path, job)["runs"] for job in sweeps.job_names(path)] == [
        ["0000", "0001"],
        ["0002", "0003"],
    ]
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{path / 'study.db'}")
    for trial, run in zip(study.trials, sweeps.run_names(path), strict=True):
        assert trial.user_attrs == {"run": run}
        assert trial.params == sweeps.read_point(path, run)["overrides"]
        best = json.loads((path / "runs" / run / "results.json").read_text())["best_step"]
        rows = [row for row in read_rows(path / "runs" / run / "metrics.jsonl") if row["split"] == "validation"]
        assert trial.value in [row["neg_elbo_nats"] for row in rows if row["step"] == best]
        assert list(trial.intermediate_values.values()) == [row["neg_elbo_nats"] for row in rows]


def test_a_dry_run_of_a_search_tells_of_its_first_batch_and_writes_nothing(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.setattr(estimate, "estimates", lambda groups, _: [{"memory_mb": 1.0, "seconds": 1.0}] * len(groups))
    run_command(*FLAGS, "--dry_run", f"--workdir={tmp_path / 'sweep'}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 runs, chosen by random in batches of 2 out of hypers.beta=log_uniform(0.1,10); the first:"
    assert lines[1].startswith("2 runs in 1 program")
    assert not (tmp_path / "sweep").exists()
