"""The scripts as a user types them, one after another on one small conditional run."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.script import output_of
from vae_jax.data.sources.embedded import digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scripts") / "a run é"
    out = output_of("train", "--config=configs/digits.py:variant=cvae,runlocal", f"--workdir={path}")
    figures = "neg_elbo_nats", "nll_nats", "pca_mse", "ppca_nll_density_nats", "conditional_accuracy"
    for word in *figures, "samples.png":
        assert word in out
    return path


def test_evaluate_agrees_with_the_run_and_tightens_with_k(folder):
    output_of("evaluate", f"--workdir={folder}", "--num_samples=1")
    output_of("evaluate", f"--workdir={folder}", "--num_samples=150", "--split=validation", "--num_images=100")
    one = json.loads((folder / "evaluation-test-k1.json").read_text())
    final = json.loads((folder / "results.json").read_text())["test"]
    assert one["neg_elbo_nats"] == pytest.approx(final["neg_elbo_nats"], rel=1e-6)
    assert one["nll_nats"] > final["nll_nats"]
    assert json.loads((folder / "evaluation-validation-100-k150.json").read_text())["nll_num_samples"] == 150


def test_sample_draws_what_is_asked_for_and_repeats_with_the_seed(folder, tmp_path):
    flags = f"--workdir={folder}", "--num=9"
    asked = {"a": ["--label=7"], "b": ["--label=7"], "c": ["--label=3"], "d": ["--label=7", "--seed=1"]}
    for name, more in asked.items():
        output_of("sample", *flags, *more, f"--out={tmp_path / name}.png")
    pictures = {name: np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "abcd"}
    np.testing.assert_array_equal(pictures["a"], pictures["b"])
    assert np.abs(pictures["a"].astype(int) - pictures["c"]).mean() > 1
    assert np.abs(pictures["a"].astype(int) - pictures["d"]).mean() > 0.1


def test_temperature_zero_draws_one_picture(folder, tmp_path):
    flags = "--num=4", "--label=2", "--temperature=0"
    output_of("sample", f"--workdir={folder}", *flags, f"--out={tmp_path / 'cold.png'}")
    sheet = np.asarray(Image.open(tmp_path / "cold.png"))
    half = (sheet.shape[1] - sheet.shape[1] // 19) // 2
    np.testing.assert_array_equal(sheet[:half, :half], sheet[half : 2 * half, half : 2 * half])


def test_reconstruct_reads_files_of_other_sizes_and_modes(folder, tmp_path):
    test = digits(None).splits["test"]
    pixels = (test.images[0, ..., 0] * 15).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC)
    gray, colour = tmp_path / "gray.png", tmp_path / "colour.jpg"
    picture.save(gray)
    picture.convert("RGB").save(colour)
    flags = f"--workdir={folder}", f"--label={test.labels[0]}", f"--out={tmp_path / 'out.png'}"
    out = output_of("reconstruct", *flags, gray, colour)
    assert out.count("mse 0.0") == 2
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.size[0] == sheet.size[1] >= 640


def test_the_same_command_on_a_finished_run_prints_its_results(folder):
    out = output_of("train", "--config=configs/digits.py:variant=cvae,runlocal", f"--workdir={folder}")
    assert "holds this run, finished" in out
    assert "neg_elbo_nats" in out


def test_default_folder_is_named_by_the_config(root, tmp_path):
    for config in ("configs", "scripts"):
        (tmp_path / config).symlink_to(root / config)
    flags = "--config=configs/digits.py:variant=linear,runlocal", "--config.train.epochs=5"
    assert "finished" not in output_of("train", *flags, cwd=tmp_path)
    assert "finished" in output_of("train", *flags, cwd=tmp_path)
    assert [p.name.startswith("digits-") for p in (tmp_path / "runs").iterdir()] == [True]
