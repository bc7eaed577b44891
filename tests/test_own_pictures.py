"""A folder of pictures of all sorts, from the command line to a trained run."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.refusals import script_refusal
from tests.script import run_script
from vae_jax.tasks.saved import open_saved


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


@pytest.mark.parametrize("fit", ["crop", pytest.param("pad", marks=pytest.mark.long)])
def test_scripts_prepare_the_files_of_a_user_as_training_did(fit, tmp_path):
    """Of wide pictures, of which training cuts off the sides or adds black; half-tones become black and white."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 32, "validation": 16, "test": 16}.items():
        (tmp_path / "data" / split).mkdir(parents=True)
        for i in range(count):
            pixels = np.kron(rng.integers(0, 256, (6, 12)), np.ones((4, 4))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / split / f"{i:02}.png")
    more = f"--config.data.fit={fit}", "--config.data.channels=1", "--config.data.pixels=threshold"
    all_flags = *flags(tmp_path / "data", tmp_path / "run"), *more, "--config.train.epochs=2"
    assert run_script("train.py", *all_flags).returncode == 0
    saved = open_saved(tmp_path / "run", tmp_path / "data")
    where = f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path / 'data'}"

    query = "--query", tmp_path / "data" / "train" / "05.png", f"--out={tmp_path / 'found.png'}"
    assert run_script("search.py", *where, "--num=1", *query).returncode == 0
    (found,) = json.loads((tmp_path / "found.json").read_text())["queries"]
    assert found["neighbours"][0] == {"split": "train", "index": 5, "distance": pytest.approx(0, abs=1e-5)}

    assert run_script("detect.py", *where, tmp_path / "data" / "test").returncode == 0
    ranked = json.loads((tmp_path / "run" / "anomalies.json").read_text())["pictures"]
    scores = {pathlib.Path(one["path"]).name: one["score"] for one in ranked}
    error = saved.trained.evaluate(saved.seen("test")["image"])["mse"] * 12 * 12
    assert [scores[f"{i:02}.png"] for i in range(16)] == pytest.approx(error.tolist(), rel=1e-4)

    file = tmp_path / "data" / "test" / "03.png"
    out = run_script("reconstruct.py", where[0], file, f"--out={tmp_path / 'again.png'}").stdout
    assert float(out.split("mse ")[1].split()[0]) == pytest.approx(error[3] / 12 / 12, abs=1e-5)
