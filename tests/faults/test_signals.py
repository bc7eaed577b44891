"""Asked to stop, a run saves, leaves with a code of its own, and the same command finishes it."""

import os
import random
import signal
import time

import pytest

from tests.faults.process import (
    assert_ends_as,
    ended,
    error_line,
    start,
    train,
    wait_for_line,
    wait_for_save,
    wait_for_step,
)

MOMENTS = {
    "compilation": lambda process, _: wait_for_line(process, "run folder: "),
    "a step": lambda process, folder: wait_for_step(process, folder, 30),
    "a save": lambda process, folder: wait_for_step(process, folder, 60) and wait_for_save(process, folder),
    "evaluation": lambda process, _: wait_for_line(process, "evaluating"),
}
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
CASES = [(moment, SIGNALS[(i + turn) % 3]) for turn in range(3) for i, moment in enumerate(MOMENTS)]


@pytest.mark.fault(
    "signals",
    injected="SIGTERM, SIGINT and SIGUSR1 during compilation, in a step, in a save, in evaluation",
    promised="saved, exit code 75, one line; the same command ends with the same bits",
    short=4,
    full=len(CASES),
)
def test_signal(tmp_path, undisturbed, attempt):
    moment, number = CASES[attempt]
    folder, rng = tmp_path / "run", random.Random(attempt)
    process = start(train(folder))
    assert MOMENTS[moment](process, folder)
    time.sleep(rng.uniform(0, 0.3) if moment == "compilation" else 0)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 75, err
    assert f"error: {number.name}: " in error_line(err)
    assert "resuming at step" in assert_ends_as(undisturbed, folder)


@pytest.mark.long
@pytest.mark.fault(
    "a signal twice",
    injected="SIGTERM twice, SIGINT twice, 0 to 50 ms apart, in training",
    promised="exit code 75, or 130 for Ctrl-C twice; one line; the same command ends with the same bits",
    full=6,
)
def test_signal_twice(tmp_path, undisturbed, attempt):
    folder, number = tmp_path / "run", SIGNALS[attempt % 2]
    process = start(train(folder))
    assert wait_for_step(process, folder, 50)
    process.send_signal(number)
    time.sleep(attempt / 100)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 75 or (code, number) == (130, signal.SIGINT)
    error_line(err)
    assert_ends_as(undisturbed, folder)


@pytest.mark.long
@pytest.mark.fault(
    "a stream, killed and interrupted",
    injected="SIGKILL, then Ctrl-C to the group of processes, into a run that streams its data with 2 workers or none",
    promised="exit code 75, one line; ends with the bits of the undisturbed run, whose data are in memory",
    full=2,
)
def test_stream(tmp_path, undisturbed, attempt):
    workers = 2 - 2 * attempt
    command = train(tmp_path / "run", "--config.data.memory_mb=0", f"--config.data.workers={workers}")
    process = start(command)
    assert wait_for_step(process, tmp_path / "run", 55)
    process.kill()
    process.communicate()
    process = start(command, start_new_session=True)
    assert wait_for_step(process, tmp_path / "run", 135)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does, to the workers too
    code, _, err = ended(process)
    assert code == 75
    assert "SIGINT: saved at step" in error_line(err)
    assert "resuming at step" in assert_ends_as(undisturbed, tmp_path / "run", command)
