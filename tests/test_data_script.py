"""scripts/data.py as a user types it."""

import numpy as np
import pytest
from PIL import Image

from tests.refusals import files, script_refusal
from tests.script import output_of
from vae_jax.build import components


@pytest.fixture(autouse=True)
def nothing_there(tmp_path, monkeypatch):
    """No data, nothing prepared, and no network to download from."""
    monkeypatch.delenv("VAE_JAX_DATA_DIR", raising=False)
    monkeypatch.setenv("VAE_JAX_CACHE_DIR", str(tmp_path / "cache"))
    for name in "http_proxy", "https_proxy":
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.fixture
def pictures(tmp_path):
    for kind in "cat", "dog":
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(10):
            pixels = np.random.default_rng(i).integers(0, 256, (9, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / kind / f"{i}.png")
    return tmp_path / "pets"


def test_list_names_every_source_and_what_is_prepared(tmp_path):
    out = output_of("data", "list")
    assert {line.split()[0] for line in out.splitlines() if line[:1].strip()} >= set(components("data.sources"))
    assert out.endswith(f"prepared in {tmp_path}/cache/data: none\n")


def test_prepare_and_show_tell_of_a_folder_and_draw_it(pictures, tmp_path):
    flags = "folder", f"--data_dir={pictures}", "--config.data.size=6"
    lines = output_of("data", "prepare", *flags).splitlines()
    assert lines[0] == f"decoding 20 pictures of {pictures}; this is done once"
    assert "pictures: 6x6x3, uint8, white is 255" in lines and "sizes: train 16, validation 2, test 2" in lines
    listed = output_of("data", "list")
    assert "prepared in" in listed and "folder-" in listed
    shown = output_of("data", "show", *flags, cwd=tmp_path)
    assert "train: values 0..255; pictures by class: 8 8" in shown and "decoding" not in shown
    assert [line for line in shown.splitlines() if line.startswith("sha256")] == [lines[-1]]
    with Image.open(tmp_path / "folder-train.png") as sheet:
        assert sheet.mode == "RGB" and sheet.width >= 640
    assert (tmp_path / "folder-validation.png").exists() and (tmp_path / "folder-test.png").exists()


@pytest.mark.long
def test_show_tells_factors_and_draws_what_is_drawn_when_read(tmp_path):
    shown = output_of("data", "show", "sprites", f"--out={tmp_path}")
    assert "factors: shape (3), scale (6), orientation (40), x (32), y (32)" in shown
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
    said = script_refusal(code, "data", *command.format(t=tmp_path).split(), cwd=tmp_path)
    for text in told:
        assert text.format(t=tmp_path) in said
    assert not files(tmp_path)


def test_a_cache_folder_that_cannot_be_written_is_one_line(pictures, tmp_path):
    (tmp_path / "cache").write_text("")
    said = script_refusal(73, "data", "prepare", "folder", f"--data_dir={pictures}")
    assert "set VAE_JAX_CACHE_DIR to another" in said
