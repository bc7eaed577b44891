"""A sweep on a real SLURM, whose driver is killed while its jobs are queued or run."""

import pytest

from tests.faults.process import finish, start, wait_for
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.table import make_rows

pytestmark = [pytest.mark.usefixtures("cluster"), pytest.mark.long]


def test_jobs_outlive_their_driver_and_the_next_one_takes_them_up(tmp_path):
    folder = tmp_path / "sweep"
    command = ["scripts/sweep.py", "--config=configs/digits.py:runlocal", f"--workdir={folder}", "--members=2"]
    command += ["--set", "seed=range(3)", "--launcher=slurm", "--slurm", "time=10"]
    process = start(command)
    assert wait_for(process, lambda: any(folder.glob("slurm/*/*")))
    process.kill()
    process.communicate()
    code, out, err = finish(command)
    assert (code, err) == (0, "") and "3 runs: 3 done" in out
    assert [row["status"] for row in make_rows(folder)] == ["done"] * 3
    logs = [(folder / "jobs" / f"{job}.log").read_text() for job in sweeps.job_names(folder)]
    assert [log.count("step 200/200") for log in logs] == [1, 1], "a job was done twice"
