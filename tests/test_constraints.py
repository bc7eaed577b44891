"""The lock files hold a version for all that setup.cfg asks for, and one that it allows."""

import configparser
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

LOCKS = sorted((ROOT / "constraints").glob("py*.txt"))


def asked_for(*extras):
    """Return what setup.cfg requires, with that of extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    text = "\n".join([setup["options"]["install_requires"], *(setup["options.extras_require"][e] for e in extras)])
    return [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_there_is_one_for_every_python_that_is_supported():
    assert [lock.name for lock in LOCKS] == ["py3.11.txt", "py3.12.txt", "py3.13.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_serves_setup_cfg(lock):
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(), re.MULTILINE))
    python = lock.stem.removeprefix("py")
    required = asked_for("test")
    assert len(required) > 25
    for one in required:
        if one.marker is None or one.marker.evaluate({"python_version": python}):
            pin = pins.get(canonicalize_name(one.name))
            assert pin is not None, f"{one.name} is not in {lock.name}: run `make lock`"
            assert one.specifier.contains(pin), f"{one} does not allow {pin} of {lock.name}: run `make lock`"
