"""kill -9 of the driver and of the workers of a sweep: every run ends once, with the bits of an undisturbed sweep."""

import os
import random
import re
import signal
import time

import pytest

from tests.faults.process import FLAGS, ended, finish, outcome, start, wait_for
from vae_jax.sweeps import folder as sweeps


def command(folder, seeds, members):
    """Return the command of a sweep over two weights and some seeds, in programs of a few members each."""
    points = ["--set", "hypers.beta=1,2", "--set", f"seed=range({seeds})"]
    fields = ["--config.model.encoder.hidden=16", "--config.checkpoint.every_seconds=0"]
    return ["scripts/sweep.py", f"--workdir={folder}", *FLAGS, *fields, *points, f"--members={members}"]


def workers(folder):
    """Return the processes of the jobs that live."""
    locks = [folder / "jobs" / f"{job}.lock" for job in sweeps.live_jobs(folder)]
    return [int(found[1]) for lock in locks if (found := re.match(r"process (\d+) ", lock.read_text()))]


def kill_worker(folder, rng):
    """Kill a worker; return whether there was one."""
    alive = workers(folder)
    if alive:
        os.kill(rng.choice(alive), signal.SIGKILL)
    return bool(alive)


def finished(folder):
    """Return when each run that is done was."""
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("runs/*/results.json")}


@pytest.mark.long
@pytest.mark.fault(
    "kill -9 of a sweep",
    injected="SIGKILL at random moments to the driver (3 times) and to its workers (5 times), of 20 runs in 4 "
    "programs; in the short set fewer",
    promised="the same command goes on; every run ends once, and with the bits of an undisturbed sweep",
)
def test_driver_and_workers_are_killed(tmp_path, held, request):
    full = request.config.getoption("--faults") == "full"
    size, kills = ((10, 5), {"driver": 3, "worker": 5}) if full else ((2, 2), {"driver": 1, "worker": 2})
    undisturbed, folder, rng = tmp_path / "undisturbed", tmp_path / "sweep", random.Random(7)
    assert finish(command(undisturbed, *size))[0] == 0
    acts, seen, process = [who for who, times in kills.items() for _ in range(times)], {}, None
    rng.shuffle(acts)
    while acts:
        if process is None or process.poll() is not None:
            process = start(command(folder, *size))
        if not wait_for(process, lambda: folder.exists() and workers(folder)):
            break  # the sweep was quicker than we
        time.sleep(rng.uniform(0, 4))
        now = finished(folder)
        assert now.items() >= seen.items(), "a run that was done has been done again"
        seen = now
        if acts[-1] == "driver":
            process.kill()
            ended(process)
            acts.pop()
        elif kill_worker(folder, rng):
            acts.pop()
    if process.poll() is None:
        ended(process)
    code, out, err = finish(command(folder, *size))
    assert (code, err) == (0, "") and f"{2 * size[0]} runs: {2 * size[0]} done" in out
    assert finished(folder).items() >= seen.items()
    runs = sweeps.run_names(folder)
    assert runs == sweeps.run_names(undisturbed) and len(runs) == 2 * size[0]
    for run in runs:
        assert outcome(folder / "runs" / run) == outcome(undisturbed / "runs" / run), run
    assert len(acts) < sum(kills.values())
    held(sum(kills.values()) - len(acts))
