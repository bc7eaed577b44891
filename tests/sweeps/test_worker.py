"""A job: what is the fault of a run, and what is not."""

import pytest

from vae_jax.errors import Diverged, OutOfMemory, Preempted, StorageError
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps import worker
from vae_jax.sweeps.plan import resolve


@pytest.fixture
def path(tmp_path):
    with sweeps.open_sweep(tmp_path / "sweep", {"config": "configs/digits.py"}) as path:
        sweeps.add_runs(path, resolve("configs/digits.py", [{"seed": 0}], {}))
        yield path


def fail(path, error):
    def attempt():
        raise error

    worker._attempt(path, ["0000"], attempt)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Diverged("nan"), 76),
        (OutOfMemory("too large"), 74),
        (MemoryError("too large"), 74),
        (RuntimeError("RESOURCE_EXHAUSTED: too large\nfor the device"), 74),
    ],
)
def test_a_run_that_fails_is_noted_and_the_job_goes_on(path, error, code):
    fail(path, error)
    failure = sweeps.read_failure(path, "0000")
    assert failure["exit_code"] == code
    assert "\n" not in failure["message"]


def test_the_failure_of_a_group_is_not_that_of_a_run_that_had_failed_before(path):
    sweeps.write_failure(path, "0000", 76, "the loss is nan")
    fail(path, OutOfMemory("too large"))
    assert sweeps.read_failure(path, "0000") == {"exit_code": 76, "message": "the loss is nan"}


@pytest.mark.parametrize("error", [Preempted("SIGTERM"), StorageError("full"), RuntimeError("INTERNAL: a bug")])
def test_what_is_no_fault_of_the_run_ends_the_job_and_leaves_the_run_open(path, error):
    with pytest.raises(type(error)):
        fail(path, error)
    assert sweeps.is_open(path, "0000")
