"""No link in a folder that is written to leads a write elsewhere, and what killed writers left is removed."""

import contextlib
import os
import time

import pytest

from tests.variants import load
from vae_jax import run
from vae_jax.errors import OutputError, UserError
from vae_jax.storage import open_in_place, replacing, subfolder, write_text
from vae_jax.training.folder import open_folder

SMALL = {"model__encoder__hidden": (4,), "train__epochs": 2, "train__eval_every_epochs": 1}


@pytest.fixture
def elsewhere(tmp_path):
    """A file that belongs to somebody else."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "thesis.txt").write_text("all I have")
    yield tmp_path / "elsewhere" / "thesis.txt"
    assert (tmp_path / "elsewhere" / "thesis.txt").read_text() == "all I have"


def test_a_file_takes_the_place_of_a_link(tmp_path, elsewhere):
    (tmp_path / "a.txt").symlink_to(elsewhere)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new" and not (tmp_path / "a.txt").is_symlink()


def test_what_is_appended_to_is_no_link(tmp_path, elsewhere):
    (tmp_path / ".lock").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        open_in_place(tmp_path / ".lock", "a+")
    (tmp_path / "pictures").symlink_to(elsewhere.parent)
    with pytest.raises(OutputError, match=r"pictures is a link, .* remove the link"):
        subfolder(tmp_path / "pictures")


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "pictures", "pictures/samples.png", "results.json"])
def test_a_run_writes_over_nothing_that_a_planted_link_points_to(tmp_path, elsewhere, name):
    config, link = load("digits.py", **SMALL), tmp_path / "run" / name
    with open_folder(tmp_path / "run", config):
        pass
    link.unlink(missing_ok=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere.parent if name == "pictures" else elsewhere)
    refused = name in (".lock", "pictures", "results.json")
    with pytest.raises(UserError) if refused else contextlib.nullcontext():
        run.train(config, tmp_path / "run", trackers=())
    assert [path.name for path in elsewhere.parent.iterdir()] == ["thesis.txt"]


def test_what_a_killed_writer_left_is_removed_in_time(tmp_path):
    old, new = tmp_path / ".a.0123.part.txt", tmp_path / ".a.4567.part.txt"
    for part in old, new:
        part.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.4567.part.txt", "a.txt"]
