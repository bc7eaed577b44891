"""Parameters spread over the devices: the losses of whole ones, a part of their bytes, any number of devices."""

import json

import jax
import numpy as np
import pytest

from tests.variants import load
from vae_jax import run
from vae_jax.data.load import load_dataset
from vae_jax.parts import put_together
from vae_jax.reporting.log import read_rows
from vae_jax.training import checkpoint, mesh
from vae_jax.training.fingerprint import fingerprint

pytestmark = pytest.mark.usefixtures("all_devices")
SMALL = {
    "model__encoder__hidden": (256, 64),
    "train__batch_size": 64,
    "train__epochs": 2,
    "train__eval_every_epochs": 1,
    "train__steps_per_call": 10,
    "evaluate__num_importance_samples": 2,
}


def config(**overrides):
    return load("digits.py:variant=vae", **SMALL | overrides)


def parts_of(settings):
    return put_together(settings, load_dataset(settings, None))


def bytes_by_device(tree):
    total = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            total[shard.device] += shard.data.nbytes
    return total


@pytest.fixture
def on_devices(monkeypatch):
    """Return the number of devices -> None: so many are used from here on."""
    place = mesh.place
    return lambda count: monkeypatch.setattr("vae_jax.parts.place", lambda: place(count))


@pytest.fixture(scope="module")
def whole(saved_run):
    return read_rows(saved_run("digits.py:variant=vae", **SMALL) / "metrics.jsonl")


def assert_close(rows, expected):
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        found, wanted = (list(values.values())[2:] for values in (row, other))
        np.testing.assert_allclose(found, wanted, rtol=1e-4 if row is rows[0] else 1e-2)


def test_each_device_holds_a_quarter():
    trees = [parts_of(config(train__shard_params=shard)).start() for shard in (True, None)]
    sharded, replicated = (bytes_by_device(tree["state"]["params"]) for tree in trees)
    assert all(sharded[device] < 0.27 * replicated[device] for device in jax.devices())
    spread, full = (bytes_by_device(tree) for tree in trees)
    assert all(spread[device] < 0.27 * full[device] for device in jax.devices())
    assert fingerprint(trees[0]) == fingerprint(trees[1])


@pytest.mark.long
def test_a_run_keeps_its_shards_and_equals_a_whole_one(tmp_path, whole, on_devices, monkeypatch):
    settings, shares = config(train__shard_params=True, checkpoint__every_seconds=0.0), []
    save = checkpoint.Checkpoints.save

    def watched(self, step, tree, marks):
        held = bytes_by_device((tree["state"]["params"], tree["state"]["opt_state"], tree["best"]["params"]))
        shares.append(max(held.values()) / sum(held.values()))
        save(self, step, tree, marks)
        if step == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoints, "save", watched)
    with pytest.raises(KeyboardInterrupt):
        run.train(settings, tmp_path)
    assert shares == pytest.approx([0.25, 0.25], abs=0.001)
    monkeypatch.setattr(checkpoint.Checkpoints, "save", save)

    on_devices(2)
    run.train(settings, tmp_path)
    assert_close(read_rows(tmp_path / "metrics.jsonl"), whole)
    assert json.loads((tmp_path / "manifest.json").read_text())["restarts"][0]["step"] == 20


def test_a_leaf_is_divided_in_its_largest_dimension_that_divides():
    shapes = {"wide": (30, 64), "long": (64, 60), "odd": (63, 65), "small": (4, 4), "none": ()}
    tree = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    specs = {name: tuple(leaf.sharding.spec) for name, leaf in mesh.place(4).abstract(tree, shard=True).items()}
    whole = {name: (None,) * len(shape) for name, shape in shapes.items()}
    assert specs == whole | {"wide": (None, "data"), "long": ("data", None)}
