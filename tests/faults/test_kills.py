"""kill -9 at any moment: the same command goes on, and ends with the bits of a run that was not killed."""

import random
import signal
import time

import pytest

from tests.faults.process import assert_ends_as, rows, start, train, wait_for_line, wait_for_save, wait_for_step

PROMISE = "the same command resumes; state, best parameters, results and metrics.jsonl equal the undisturbed run's bits"


def at_start(process, _, rng):
    """Import, data, compilation, reading of the checkpoint, the first steps."""
    time.sleep(rng.uniform(0, 4))
    return process.poll() is None


def in_training(process, folder, rng):
    """Within or between chunks of steps."""
    reached = max((row["step"] for row in rows(folder)), default=0)
    return wait_for_step(process, folder, reached + rng.randrange(1, 40)) and not time.sleep(rng.uniform(0, 0.1))


def in_saving(process, folder, rng):
    """While a checkpoint is written."""
    return wait_for_save(process, folder) and not time.sleep(rng.uniform(0, 0.03))


def in_evaluation(process, _, rng):
    """While the test split is evaluated and the pictures are drawn."""
    return wait_for_line(process, "evaluating") and not time.sleep(rng.uniform(0, 3))


def in_results(process, _, rng):
    """While the results are written."""
    return wait_for_line(process, "pictures: ") and not time.sleep(rng.uniform(0, 0.02))


@pytest.mark.fault(
    "kill -9",
    injected="SIGKILL at random moments: at the start, in training, in a save, in the evaluation, as results are "
    "written; each run is killed up to 5 times",
    promised=PROMISE,
    full=22,
)
def test_killed_again_and_again(tmp_path, undisturbed, attempt, held):
    rng, folder, kills = random.Random(attempt), tmp_path / "run", 0
    moments = [at_start, in_training, in_saving]
    rng.shuffle(moments)
    for moment in [*moments, in_evaluation, in_results][: 5 if attempt else 4]:
        process = start(train(folder))
        if moment(process, folder, rng):
            process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert_ends_as(undisturbed, folder)
    assert kills >= 3
    held(kills)
