"""What the tests of sweeps share."""

import os
import pathlib
import shutil
import subprocess

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A SLURM of this machine alone, which all commands of a module use; skips where there is none."""
    script, folder = ROOT / "scripts" / "testing" / "slurm.sh", tmp_path_factory.mktemp("slurm")
    if not shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
        pytest.skip("needs SLURM, which `scripts/testing/slurm.sh install` brings")
    started = subprocess.run([script, "start", folder], capture_output=True, text=True)
    if started.returncode:
        pytest.skip(f"SLURM does not start: {started.stderr}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", started.stdout.strip())
        yield pathlib.Path(folder)
    subprocess.run([script, "stop", folder], check=True, capture_output=True)
