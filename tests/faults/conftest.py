"""What the tests of faults share: an undisturbed run, a run that was stopped half-way, small disks."""

import contextlib
import subprocess

import pytest

from tests.faults.process import finish, outcome, started, stop_at, train


@pytest.fixture(autouse=True)
def none_left():
    """End what a test that failed has left behind."""
    yield
    while started:
        process = started.pop()
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def held(record_property, request):
    """Return a function to call whenever a fault has ended as promised."""

    def count(times=1):
        properties = dict(request.node.user_properties)
        request.node.user_properties[:] = [pair for pair in request.node.user_properties if pair[0] != "held"]
        record_property("held", properties.get("held", 0) + times)

    return count


@pytest.fixture(scope="session")
def undisturbed_folder(made_once):
    """The folder of a run that nothing has happened to."""

    def make(path):
        code, _, err = finish(train(path))
        assert (code, err) == (0, "")

    return made_once("undisturbed", make)


@pytest.fixture(scope="session")
def undisturbed(undisturbed_folder):
    """How it ended."""
    return outcome(undisturbed_folder)


@pytest.fixture(scope="session")
def half_way(made_once):
    """The folder of a run that was stopped; copy it."""
    return made_once("half way", lambda path: stop_at(100, path))


@pytest.fixture
def mounted(tmp_path):
    """Return (options) -> an empty file system of its own in memory; skip where that is not allowed."""
    with contextlib.ExitStack() as at_end:

        def mount(options):
            disk = tmp_path / "disk"
            disk.mkdir()
            if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True).returncode:
                pytest.skip("needs the right to mount a small file system")
            at_end.callback(subprocess.run, ["umount", "--lazy", disk], check=True)
            return disk

        yield mount
