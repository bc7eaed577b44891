"""The command of a sweep, up to where runs would start."""

import pytest

from vae_jax import cli
from vae_jax.errors import ConfigError
from vae_jax.sweeps import command, estimate
from vae_jax.sweeps import folder as sweeps


def run_command(*given):
    """Run the command of a sweep with its flags, as scripts/sweep.py does."""
    flags = cli.parser("")
    command.add_flags(flags)
    cli.add_data_dir(flags)
    cli.add_trackers(flags, default="none")
    command.run(*cli.parse_with_overrides(flags, given))


@pytest.fixture
def sweep(root, tmp_path, monkeypatch):
    """Return a function that takes flags, plans a sweep in a folder, and returns that; and the groups it measured."""
    measured = []
    monkeypatch.chdir(root)
    monkeypatch.setattr(command, "drive", lambda *_: None)
    monkeypatch.setattr(command, "_finish", lambda *_: None)

    def measure(groups, _):
        measured.extend(groups)
        return [{"memory_mb": 1, "seconds": 1}] * len(groups)

    monkeypatch.setattr(estimate, "estimates", measure)

    def run(*given):
        run_command(f"--workdir={tmp_path / 'sweep'}", *given)
        return tmp_path / "sweep"

    return run, measured


def test_a_command_that_is_refused_leaves_no_run(sweep):
    run, _ = sweep
    run("--set=hypers.beta=1,2")
    with pytest.raises(ConfigError, match=r"holds 1 runs that this command does not ask for, such as runs/0001 "):
        run("--set=hypers.beta=1,4")
    assert sweeps.run_names(run("--set=hypers.beta=1,2")) == ["0000", "0001"]
    assert len(sweeps.run_names(run("--set=hypers.beta=1,2,4"))) == 3


def test_a_retry_that_is_refused_forgets_no_failure(sweep):
    run, _ = sweep
    path = run("--set=hypers.beta=1,2")
    sweeps.write_failure(path, "0001", 76, "nan")
    with pytest.raises(ConfigError, match="does not ask for"):
        run("--set=hypers.beta=1", "--retry")
    assert sweeps.status(path, "0001") == sweeps.FAILED
    run("--set=hypers.beta=1,2", "--retry")
    assert sweeps.status(path, "0001") == sweeps.WAITING
    assert sweeps.job_names(path) == ["0000", "0001"]


def test_equal_groups_are_measured_once(sweep):
    run, measured = sweep
    path = run("--set=seed=range(5)", "--members=1")
    assert (len(sweeps.job_names(path)), len(measured)) == (5, 1)


def test_what_is_unset_is_no_stumbling_block(sweep):
    run, _ = sweep
    path = run("--set=data.corruption.name=None,salt_and_pepper")
    assert sweeps.read_point(path, "0000")["overrides"]["data.corruption.name"] in (None, "None")
