"""Checkpoints that are damaged, of another run, of another number of devices, of another version of JAX."""

import json
import os
import shutil

import numpy as np
import pytest

from tests.faults.process import assert_ends_as, assert_refused, copy, finish, rows, steps, stop_at, train
from tests.refusals import flipped_anywhere
from vae_jax import config
from vae_jax.data.load import load_dataset
from vae_jax.parts import put_together
from vae_jax.training.checkpoint import restore
from vae_jax.training.fingerprint import state_sha256

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def files_of(folder, step):
    return sorted(path for path in (folder / "checkpoints" / str(step)).rglob("*") if path.is_file())


def flip(path, rng):
    path.write_bytes(flipped_anywhere(path.read_bytes(), rng))


def empty(path, _):
    path.write_bytes(b"")


def truncate(path, _):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def delete(path, _):
    path.unlink()


def assert_same_rows(folder, other, rtol):
    found, expected = rows(folder), rows(other)
    assert [(row["step"], row["split"]) for row in found] == [(row["step"], row["split"]) for row in expected]
    np.testing.assert_allclose([row["loss"] for row in found], [row["loss"] for row in expected], rtol=rtol)


@pytest.fixture(scope="module")
def abstract(half_way):
    """The shapes of the checkpoints of `half_way`."""
    settings = config.from_json((half_way / "config.json").read_text())
    parts = put_together(settings, load_dataset(settings, None))
    parts.program.close()
    return parts.abstract


@pytest.mark.long
@pytest.mark.fault(
    "damaged file of the newest checkpoint, restored",
    injected="every file of the newest checkpoint by turns: a flipped bit (four times), truncated, emptied, deleted",
    promised="the newest step or the one before comes back, with the bits that were saved; never anything else",
)
def test_damaged_file(tmp_path, half_way, abstract, held):
    newest, rng, expected = steps(half_way)[-1], np.random.default_rng(0), {}
    for step in reversed(steps(half_way)):
        one = copy(half_way, tmp_path / "one")
        for other in {*steps(half_way)} - {step}:
            shutil.rmtree(one / "checkpoints" / str(other))
        expected[step] = state_sha256(restore(one / "checkpoints", abstract)[1])
        shutil.rmtree(one)
    for path in files_of(half_way, newest):
        for damage in (flip, flip, flip, flip, truncate, empty, delete):
            if path.stat().st_size or damage is delete:
                one = copy(half_way, tmp_path / "one")
                damage(one / path.relative_to(half_way), rng)
                step, tree = restore(one / "checkpoints", abstract, lambda _: None)
                assert state_sha256(tree) == expected[step], (path, damage)
                shutil.rmtree(one)
                held()


@pytest.mark.fault(
    "damaged newest checkpoint, resumed",
    injected="the largest file of the newest checkpoint: a flipped bit, emptied, truncated, deleted; the whole deleted",
    promised="said in one line, set aside, the one before is used; ends with the bits of the undisturbed run",
    full=5,
)
def test_damage_is_said_and_survived(tmp_path, half_way, undisturbed, attempt):
    folder = copy(half_way, tmp_path / "run")
    before, newest = steps(folder)[-2:]
    largest = max(files_of(folder, newest), key=lambda path: path.stat().st_size)
    if attempt == 4:
        shutil.rmtree(folder / "checkpoints" / str(newest))
    else:
        (flip, empty, truncate, delete)[attempt](largest, np.random.default_rng(attempt))
    out = assert_ends_as(undisturbed, folder)
    assert f"resuming at step {before}" in out
    if attempt < 4:
        assert f"checkpoint {newest} is damaged" in out
        assert any(path.name.startswith(f"corrupt-{newest}-") for path in (folder / "checkpoints").iterdir())


@pytest.mark.long
@pytest.mark.fault(
    "all checkpoints damaged",
    injected="a file of every checkpoint is truncated",
    promised="exit code 74, one line, again and again: never a silent start from zero",
)
def test_all_damaged(tmp_path, half_way):
    folder = copy(half_way, tmp_path / "run")
    for step in steps(folder):
        truncate(max(files_of(folder, step), key=lambda path: path.stat().st_size), None)
    for _ in range(2):
        assert_refused(74, "is damaged; delete that folder to start the run anew", train(folder))


@pytest.mark.long
@pytest.mark.fault(
    "checkpoint of another config",
    injected="the checkpoint of a run with another network; of one with the same shapes and another beta",
    promised="exit code 2, one line, the checkpoint is left as it is",
    full=2,
)
def test_foreign_checkpoint(tmp_path, half_way, attempt):
    folder, other = copy(half_way, tmp_path / "run"), tmp_path / "other"
    stop_at(200, other, ("--config.hypers.beta=0.5", "--config.model.latent=3")[attempt])
    step = steps(other)[-1]
    shutil.copytree(other / "checkpoints" / str(step), folder / "checkpoints" / str(step))
    assert_refused(2, "is of a", train(folder))
    assert step in steps(folder)


@pytest.mark.long
@pytest.mark.fault(
    "another number of devices",
    injected="a run that starts on 4 devices goes on with 1, and ends on 8",
    promised="resumes; every step once, figures equal to rounding",
)
def test_other_devices(tmp_path, undisturbed_folder):
    folder = tmp_path / "run"
    four, one, eight = ({"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"} for count in (4, 1, 8))
    assert "resuming at step" not in stop_at(80, folder, env=four)
    assert "resuming at step" in stop_at(160, folder, env=one)
    code, out, err = finish(train(folder), env=eight)
    assert code == 0, err
    assert "resuming at step" in out
    assert_same_rows(folder, undisturbed_folder, rtol=1e-4)


@pytest.mark.long
@pytest.mark.fault(
    "another version of JAX",
    injected="a run that was started with this JAX goes on with that of $VAE_JAX_OTHER_PYTHON, and the reverse",
    promised="resumes; every step once, figures equal to 1e-3; manifest.json names both versions",
    full=2,
)
def test_other_jax(tmp_path, undisturbed_folder, attempt):
    other = os.environ.get("VAE_JAX_OTHER_PYTHON")
    if not other:
        pytest.skip("needs the Python of an environment with another JAX: set VAE_JAX_OTHER_PYTHON")
    folder, (first, second) = tmp_path / "run", [{}, {"python": other}][:: 1 - 2 * attempt]
    stop_at(100, folder, **first)
    code, out, err = finish(train(folder), **second)
    assert code == 0, err
    assert "resuming at step" in out
    assert_same_rows(folder, undisturbed_folder, rtol=1e-3)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["restarts"][0]["changed"]["jax"]["version"] != manifest["jax"]["version"]
