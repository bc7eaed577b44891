"""What the tests share. Four simulated devices, set before JAX starts, serve the tests of device counts."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The folder with the original data files; a test that needs it is skipped where there is none."""
    folder = os.environ.get("VAE_JAX_DATA_DIR")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("needs the original MNIST files: set VAE_JAX_DATA_DIR")
    return pathlib.Path(folder)
