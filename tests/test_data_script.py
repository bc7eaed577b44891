"""scripts/data.py as a user types it."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.script import run_script
from vae_jax.build import components


def run(*flags, cwd=ROOT, **environment):
    env = {k: v for k, v in os.environ.items() if k != "VAE_JAX_DATA_DIR"} | environment
    env |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # nothing is to be downloaded
    return run_script("data.py", *flags, cwd=cwd, env=env)


@pytest.fixture
def pictures(tmp_path):
    for kind in "cat", "dog":
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(10):
            pixels = np.random.default_rng(i).integers(0, 256, (9, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / kind / f"{i}.png")
    return tmp_path / "pets"


def test_list_names_every_source_and_what_is_prepared(tmp_path):
    cache = {"VAE_JAX_CACHE_DIR": str(tmp_path / "cache")}
    done = run("list", **cache)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines() if line[:1].strip()} >= set(components("data.sources"))
    assert done.stdout.endswith(f"prepared in {tmp_path}/cache/data: none\n")


def test_prepare_and_show_tell_of_a_folder_and_draw_it(pictures, tmp_path):
    cache = {"VAE_JAX_CACHE_DIR": str(tmp_path / "cache")}
    flags = "folder", f"--data_dir={pictures}", "--config.data.size=6"
    done = run("prepare", *flags, **cache)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"decoding 20 pictures of {pictures}; this is done once"
    assert "pictures: 6x6x3, uint8, white is 255" in lines and "sizes: train 16, validation 2, test 2" in lines
    assert "prepared in" in run("list", **cache).stdout and "folder-" in run("list", **cache).stdout
    shown = run("show", *flags, cwd=tmp_path, **cache)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "train: values 0..255; pictures by class: 8 8" in shown.stdout and "decoding" not in shown.stdout
    assert [line for line in shown.stdout.splitlines() if line.startswith("sha256")] == [lines[-1]]
    with Image.open(tmp_path / "folder-train.png") as sheet:
        assert sheet.mode == "RGB" and sheet.width >= 640
    assert (tmp_path / "folder-validation.png").exists() and (tmp_path / "folder-test.png").exists()


@pytest.mark.long
def test_show_tells_factors_and_draws_what_is_drawn_when_read(tmp_path):
    shown = run("show", "sprites", f"--out={tmp_path}")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "factors: shape (3), scale (6), orientation (40), x (32), y (32)" in shown.stdout
    with Image.open(tmp_path / "sprites-test.png") as sheet:
        assert set(np.unique(np.asarray(sheet))) == {0, 128, 255}


BAD = {
    "list digits": (2, "list takes no name"),
    "prepare": (2, "prepare needs the name of a source"),
    "shew digits": (2, "invalid choice: 'shew'"),
    "prepare digit": (2, 'did you mean "digits"?', "data.name=tfds, data.dataset=digit"),
    "prepare mnist --config.train.epochs=3": (2, "--config.train.epochs is not a field of the data"),
    "prepare mnist --config.data.size=3": (2, "data.size is set, but 'mnist' does not take it"),
    "prepare tfds": (2, "data.dataset is not set, and 'tfds' needs it"),
    "prepare folder --config.data.fit=squeeze": (2, "data.fit='squeeze'", "crop, pad, stretch"),
    "prepare folder --config.data.channels=2": (2, "data.channels=2", "1 for gray or 3 for colour"),
    "prepare folder --config.data.size=3,4,5": (2, "data.size=(3, 4, 5)"),
    "prepare folder --config.data.test=1.0": (2, "data.test=1.0", "between 0 and 1"),
    "prepare folder": (65, "--data_dir=FOLDER"),
    "show digits --out={t}/none": (73, "--out={t}/none is no folder"),
    "prepare mnist --data_dir={t}/none": (65, "--data_dir={t}/none is not a folder"),
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line(command, tmp_path):
    code, *told = BAD[command]
    cache = {"VAE_JAX_CACHE_DIR": str(tmp_path / "cache")}
    done = run(*command.format(t=tmp_path).split(), cwd=tmp_path, **cache)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    for text in told:
        assert text.format(t=tmp_path) in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_cache_folder_that_cannot_be_written_is_one_line(pictures, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("prepare", "folder", f"--data_dir={pictures}", VAE_JAX_CACHE_DIR=str(tmp_path / "file"))
    assert done.returncode == 73 and "set VAE_JAX_CACHE_DIR to another" in done.stderr
    assert done.stderr.count("\n") == 1
