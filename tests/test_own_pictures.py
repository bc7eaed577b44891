"""A folder of pictures of all sorts, from the command line to a trained run."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.refusals import script_refusal
from tests.script import run_script


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Discs on the left and squares on the right, of many sizes, one file of them unreadable."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    for kind in "disc", "square":
        (folder / kind).mkdir()
        for i in range(60):
            height, width = rng.integers(20, 40, 2)
            y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None] - 0.5
            inside = np.hypot(x, y) < 0.3 if kind == "disc" else np.maximum(abs(x), abs(y)) < 0.3
            pixels = np.where(inside[..., None], rng.integers(128, 256, 3), 20).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{i}.{'png' if i % 2 else 'jpg'}")
    (folder / "disc" / "7.png").write_text("no picture")
    return folder


def flags(pictures, workdir):
    small = "--config.data.size=12", "--config.model.encoder.channels=4,8", "--config.model.encoder.hidden=16"
    where = f"--data_dir={pictures}", f"--workdir={workdir}", "--config.train.batch_size=16"
    return "--config=configs/folder.py:variant=autoencoder,runlocal", *where, *small


def test_a_run_on_own_pictures_lists_what_it_skipped(pictures, tmp_path):
    done = run_script("train.py", *flags(pictures, tmp_path / "run"), "--config.data.on_error=skip")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "run" / "manifest.json").read_text())["data"]
    assert data["shape"] == [12, 12, 3] and data["num_classes"] == 2 and sum(data["sizes"].values()) == 119
    assert len(data["skipped"]) == 1 and data["skipped"][0].startswith(f"{pictures}/disc/7.png: ")
    assert (tmp_path / "run" / "pictures" / "reconstructions.png").exists()


def test_without_leave_to_skip_the_file_is_named_and_nothing_is_left(pictures, tmp_path):
    said = script_refusal(65, "train", *flags(pictures, tmp_path / "run"))
    assert f"error: {pictures}/disc/7.png cannot be read as a picture" in said
    assert not (tmp_path / "run").exists()
