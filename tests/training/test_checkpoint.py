"""Checkpoints come back bit for bit, or not at all: damage is found, set aside and survived."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.refusals import flipped, flipped_anywhere
from vae_jax.errors import ConfigError, StorageError
from vae_jax.training import checkpoint
from vae_jax.training.checkpoint import Checkpoints, load_newest, newest_step, restore
from vae_jax.training.fingerprint import fingerprint, state_sha256
from vae_jax.training.mesh import place

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make_tree(step):
    kernel = jax.random.normal(jax.random.key(step), (64, 32))
    state = {"params": {"w": kernel}, "key": jax.random.key(7), "step": jnp.int32(step)}
    return {"state": state, "best": {"params": {"w": kernel + 1}, "stats": {}, "loss": jnp.float32(step)}}


def abstract(tree, placement=None):
    sharding = (placement or place(1)).everywhere
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)


@pytest.fixture
def folder(tmp_path):
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, make_tree(step))
    return tmp_path / "checkpoints"


def largest_file(folder, step):
    return max((p for p in (folder / str(step)).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def damage(folder, step):
    """Flip one bit in the middle of the largest file of a step, which is its array data."""
    path = largest_file(folder, step)
    path.write_bytes(flipped(path.read_bytes(), path.stat().st_size // 2, bit=2))


def test_newest_comes_back_bit_for_bit_and_only_so_many_are_kept(folder):
    assert sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) == [20, 30]
    step, tree = restore(folder, abstract(make_tree(0)))
    assert step == newest_step(folder) == 30
    assert state_sha256(tree) == state_sha256(make_tree(30))


def test_restores_on_another_number_of_devices(folder):
    _, tree = restore(folder, abstract(make_tree(0), place(4)))
    assert len(tree["state"]["params"]["w"].sharding.device_set) == 4
    assert state_sha256(tree) == state_sha256(make_tree(30))


def test_best_parameters_load_without_the_shape_of_the_state(folder):
    params, stats = (load_newest(folder)[1]["best"][name] for name in ("params", "stats"))
    np.testing.assert_array_equal(params["w"], make_tree(30)["best"]["params"]["w"])
    assert stats == {}


def test_flipped_bit_is_found_set_aside_and_the_step_before_is_used(folder):
    damage(folder, 30)
    lines = []
    step, tree = restore(folder, abstract(make_tree(0)), lines.append)
    assert (step, state_sha256(tree)) == (20, state_sha256(make_tree(20)))
    assert "checkpoint 30 is damaged" in lines[0]
    assert len([p for p in folder.iterdir() if p.name.startswith("corrupt-30-")]) == 1


@pytest.mark.parametrize("how", ["truncated", "emptied", "deleted", "metadata"])
def test_damaged_files_are_survived(folder, how):
    largest = largest_file(folder, 30)
    if how == "deleted":
        largest.unlink()
    elif how == "metadata":
        (folder / "30" / "_CHECKPOINT_METADATA").write_bytes(b"X")
    else:
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2 if how == "truncated" else 0])
    step, tree = restore(folder, abstract(make_tree(0)), lambda _: None)
    assert (step, state_sha256(tree)) == (20, state_sha256(make_tree(20)))
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(30, make_tree(30))
    assert restore(folder, abstract(make_tree(0)))[0] == 30


def test_when_all_are_damaged_nothing_starts_from_zero_ever(folder):
    damage(folder, 20)
    damage(folder, 30)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"every checkpoint in .* is damaged"):
            restore(folder, abstract(make_tree(0)), lambda _: None)


def test_bit_flipped_anywhere_gives_the_newest_or_the_one_before_and_nothing_else(folder):
    saved, rng = shutil.copytree(folder, folder.with_name("saved")), np.random.default_rng(0)
    names = [p.relative_to(saved) for p in sorted((saved / "30").rglob("*")) if p.is_file() and p.stat().st_size]
    for name in names * 2:
        shutil.rmtree(folder)
        shutil.copytree(saved, folder)
        (folder / name).write_bytes(flipped_anywhere((folder / name).read_bytes(), rng))
        step, tree = restore(folder, abstract(make_tree(0)), lambda _: None)
        assert state_sha256(tree) == state_sha256(make_tree(step)), name


def test_damaged_older_step_does_not_stop_the_next_save(folder):
    path = folder / "20" / "_CHECKPOINT_METADATA"
    path.write_text(path.read_text().replace("init_timestamp", "inittimestamp"))
    assert restore(folder, abstract(make_tree(0)), lambda _: None)[0] == 30
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(40, make_tree(40))
    assert newest_step(folder) == 40


@pytest.mark.parametrize("change", ["shape", "name"])
def test_checkpoint_of_another_model_is_refused_and_left_alone(folder, change):
    other = abstract(make_tree(0))
    if change == "shape":
        other["state"]["params"]["w"] = jax.ShapeDtypeStruct((5, 5), jnp.float32)
    else:
        other["state"]["params"]["v"] = other["state"]["params"].pop("w")
    with pytest.raises(ConfigError, match="of another model"):
        restore(folder, other)
    assert newest_step(folder) == 30


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error")])
def test_machine_that_fails_is_not_taken_for_damage(folder, error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(checkpoint._orbax(), "load", fail)
    with pytest.raises(StorageError, match="cannot be read at present"):
        restore(folder, abstract(make_tree(0)))
    assert newest_step(folder) == 30


def test_reading_the_best_changes_nothing_in_the_folder(folder):
    for path in (folder / "30" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-20])
    params = load_newest(folder)[1]["best"]["params"]
    np.testing.assert_array_equal(params["w"], make_tree(20)["best"]["params"]["w"])
    assert newest_step(folder) == 30


def test_no_checkpoint_is_no_error(tmp_path):
    assert restore(tmp_path / "none", {}) is None
    with pytest.raises(StorageError, match="no checkpoint"):
        load_newest(tmp_path / "none")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int8, jnp.bool_, jnp.uint32])
def test_fingerprint_sees_any_single_change_and_no_placement(dtype):
    values = jnp.arange(600).astype(dtype).reshape(20, 30)
    expected = fingerprint({"a": values})
    assert fingerprint({"a": jax.device_put(values, place(4).everywhere)}) == expected
    for i in range(0, 600, 37):
        flat = values.reshape(-1)
        changed = flat.at[i].set(~flat[i] if dtype == jnp.bool_ else flat[i] + jnp.ones((), dtype))
        if not np.array_equal(changed, flat):
            assert fingerprint({"a": changed.reshape(20, 30)}) != expected
