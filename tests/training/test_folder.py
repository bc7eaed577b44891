"""A run folder belongs to one config and one process; a run that never began leaves nothing."""

import fcntl
import json
import os

import pytest

from tests.variants import load
from vae_jax import config
from vae_jax.errors import ConfigError, DataError, Diverged, OutputError, StorageError
from vae_jax.storage import write_json, write_text
from vae_jax.training.folder import open_folder, read_config, read_manifest


@pytest.fixture(scope="module")
def settings():
    return load("digits.py:variant=vae")


def test_a_new_folder_holds_the_config_and_opens_again(tmp_path, settings):
    for _ in range(2):
        with open_folder(tmp_path / "a" / "run", settings) as folder:
            assert (folder / "config.json").read_text() == config.to_json(settings)
            assert str(os.getpid()) in (folder / ".lock").read_text()
    assert config.differences(read_config(folder), settings) == []


def test_only_one_may_hold_it_and_only_while_it_is_open(tmp_path, settings):
    refused = pytest.raises(OutputError, match=f"in use by process {os.getpid()} on ")
    with open_folder(tmp_path, settings) as folder, refused, open_folder(folder, settings):
        pass
    with open(folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_another_config_is_refused_by_its_fields(tmp_path, settings):
    with open_folder(tmp_path / "run", settings):
        pass
    other = load("digits.py:variant=vae", seed=1, train__epochs=5, model__latent=3, hypers__beta=2.0)
    with pytest.raises(ConfigError) as caught, open_folder(tmp_path / "run", other):
        pass
    assert "hypers.beta: 1.0 -> 2.0; model.latent: 2 -> 3; seed: 0 -> 1 and 1 more" in str(caught.value)


@pytest.mark.parametrize("existed", [False, True])
def test_a_config_error_before_the_first_step_leaves_nothing(tmp_path, settings, existed):
    path = tmp_path / "run"
    if existed:
        path.mkdir()
    with pytest.raises(ConfigError), open_folder(path, settings):
        raise ConfigError("found late")
    assert path.exists() == existed and (not existed or not list(path.iterdir()))


@pytest.mark.parametrize("error, begun", [(ConfigError, True), (DataError, False)])
def test_what_a_run_has_written_stays(tmp_path, settings, error, begun):
    with pytest.raises(error), open_folder(tmp_path / "run", settings) as folder:
        if begun:
            (folder / "manifest.json").write_text("{}")
        raise error("late")
    assert (folder / "config.json").exists()


def test_writing_is_atomic(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": {"b": 1.5}})
    with pytest.raises(StorageError, match=f"writing {tmp_path}/none/x.txt failed: No such file"):
        write_text(tmp_path / "none" / "x.txt", "text")
    with pytest.raises(Diverged, match=rf"test\.mse is nan, so {path} is not written"):
        write_json(path, {"test": {"mse": float("nan")}})
    assert json.loads(path.read_text()) == {"a": {"b": 1.5}}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "is no run folder, or not a whole one: it has no manifest.json"),
        ("{", "cannot be read"),
        ("3", "is not that of a run"),
        ('{"data": {"shape": [8, 8, 1], "num_classes": 10}}', r"lacks data\.sha256"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_manifest(tmp_path)
