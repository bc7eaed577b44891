"""Restoration: what is measured, what is fitted to which split, and a user's own pictures of any size."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.refusals import script_refusal
from tests.script import run_script
from vae_jax.evaluation.chroma import chroma, luminance
from vae_jax.evaluation.image_quality import psnr_of
from vae_jax.tasks.own_pictures import as_whole, by_shifts, by_tiles, resized
from vae_jax.tasks.restoration import evaluate, restore
from vae_jax.tasks.saved import open_saved
from vae_jax.trained import load

DENOISING = "digits.py:variant=denoising,runlocal"
SMALL = {"model__encoder__hidden": (16,), "train__epochs": 2}
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def denoising(saved_run):
    return saved_run(DENOISING)


@pytest.fixture(scope="module")
def coloured_pictures(tmp_path_factory):
    """Bright discs are orange and dark ones blue, on gray: luminance tells the colour."""
    folder = tmp_path_factory.mktemp("colour")
    y, x = np.mgrid[:8, :8]
    for split, count in {"train": 200, "validation": 30, "test": 40}.items():
        (folder / split).mkdir()
        for i in range(count):
            disc = np.hypot(y - RNG.uniform(2, 5), x - RNG.uniform(2, 5)) < 2.5
            colour = (230, 150, 60) if i % 2 else (30, 40, 160)
            pixels = np.where(disc[..., None], colour, RNG.integers(90, 130)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def colorizing(saved_run, coloured_pictures):
    small = {"model__encoder__hidden": (64,), "model__latent": 16, "train__batch_size": 20, "train__epochs": 60}
    return saved_run("cifar10.py:variant=colorize", data_dir=coloured_pictures, **small)


def succeed(*flags):
    done = run_script("restore.py", *flags)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def measured(denoising):
    return evaluate(open_saved(denoising, None))


def test_every_method_is_measured_on_all_test_pictures(denoising, measured):
    results, rows = measured
    saved = open_saved(denoising, None)
    assert results["num_images"] == saved.dataset.sizes["test"] and len(rows) == 1 + len(results["methods"])
    test = saved.seen("test")
    error = np.square(np.clip(saved.trained.reconstruct(test["input"]), 0, 1) - test["image"]).mean()
    assert results["methods"]["model"]["psnr_db"] == pytest.approx(-10 * np.log10(error), abs=1e-4)
    error = np.square(test["input"] - test["image"]).mean()
    assert results["methods"]["input"]["psnr_unclipped_db"] == pytest.approx(-10 * np.log10(error), abs=1e-4)
    assert error == pytest.approx(0.25**2, rel=0.03)
    stored = np.round(np.clip(test["input"], 0, 1) * 255) / np.float32(255)
    error = np.square(np.clip(saved.trained.reconstruct(stored), 0, 1) - test["image"]).mean()
    assert results["methods"]["model_from_file"]["psnr_db"] == pytest.approx(-10 * np.log10(error), abs=1e-4)
    for figures in results["methods"].values():
        assert figures["psnr_db"] >= figures["psnr_unclipped_db"] and 0 < figures["ssim"] < 1


def test_the_linear_optimum_is_better_than_every_linear_method(measured):
    methods = measured[0]["methods"]
    best = methods["linear_optimum"]["psnr_unclipped_db"]
    assert best > methods["pca"]["psnr_unclipped_db"] > methods["input"]["psnr_unclipped_db"]


def test_test_pictures_choose_and_fit_nothing(denoising, measured):
    saved = open_saved(denoising, None)
    test = saved.dataset.splits["test"]
    black = test._replace(images=np.zeros_like(test.images[:9]), labels=test.labels[:9])
    results, _ = evaluate(saved._replace(dataset=saved.dataset._replace(splits=saved.dataset.splits | {"test": black})))
    assert results["num_images"] == 9
    for name, chosen, best_for_black in (("median", "size", 5), ("pca", "components", 1)):
        assert results["methods"][name][chosen] == measured[0]["methods"][name][chosen] != best_for_black


@pytest.mark.long
def test_hidden_pixels_are_measured_apart(saved_run):
    fields = {"data__corruption__name": "block_masking", "data__corruption__size": 3}
    saved = open_saved(saved_run(DENOISING, data__corruption__scale=None, **SMALL, **fields), None)
    methods = evaluate(saved)[0]["methods"]
    # What is not hidden is as it was, so these err in the 9 hidden pixels of 64 only.
    for name in "input", "mean_picture":
        whole, hidden = (10 ** (-methods[name][figure] / 10) for figure in ("psnr_db", "hidden_psnr_db"))
        assert whole / hidden == pytest.approx(9 / 64)
    assert min(methods[name]["psnr_db"] for name in ("linear_optimum", "mean_picture")) > methods["input"]["psnr_db"]


@pytest.mark.long
def test_salt_and_pepper_hides_nothing_and_is_filtered_best_by_the_linear_optimum(saved_run):
    fields = {"data__corruption__name": "salt_and_pepper", "data__corruption__probability": 0.3}
    saved = open_saved(saved_run(DENOISING, data__corruption__scale=None, **SMALL, **fields), None)
    methods = evaluate(saved)[0]["methods"]
    assert methods["linear_optimum"]["psnr_db"] > max(methods[name]["psnr_db"] for name in ("pca", "median", "input"))
    assert "mean_picture" not in methods and "hidden_psnr_db" not in methods["model"]


def test_colour_keeps_the_luminance_and_beats_gray_and_the_mean_colour(colorizing, coloured_pictures):
    saved = open_saved(colorizing, coloured_pictures)
    results, rows = evaluate(saved)
    methods = results["methods"]
    test = saved.seen("test")
    assert methods["input"]["chroma_psnr_db"] == pytest.approx(float(psnr_of(np.square(chroma(test["image"])).mean())))
    for row in rows[2:]:
        np.testing.assert_allclose(luminance(row), luminance(rows[1]), atol=1e-5)
    for name in "model", "linear_optimum":
        figures = [methods[method]["chroma_psnr_db"] for method in ("input", "mean_colour", name)]
        assert figures == sorted(figures)


def test_tiles_of_what_changes_nothing_give_the_picture_back():
    for height, width in (8, 8), (20, 13), (5, 9), (3, 2):
        picture = RNG.uniform(size=(height, width, 3)).astype(np.float32)
        np.testing.assert_allclose(by_tiles(lambda tiles: tiles, picture, (8, 6)), picture, atol=1e-6)


def test_a_picture_of_the_size_is_restored_directly_and_tiles_meet_without_a_seam():
    picture = RNG.uniform(size=(8, 8, 1)).astype(np.float32)
    np.testing.assert_allclose(by_tiles(lambda tiles: tiles**2, picture, (8, 8)), picture**2, atol=1e-6)
    ramp = np.broadcast_to(np.linspace(0, 1, 32)[None, :, None], (8, 32, 1))
    # Each tile is off by its own constant: the steps between columns stay small when they are blended.
    found = by_tiles(lambda tiles: tiles + np.arange(len(tiles))[:, None, None, None] % 2, ramp, (8, 8))
    assert np.abs(np.diff(found, axis=1)).max() < 0.35


def test_shifts_average_what_hangs_on_where_the_picture_lies():
    images = RNG.uniform(size=(2, 6, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(by_shifts(lambda x: x**2, images), images**2, atol=1e-6)
    error = RNG.normal(size=(6, 5, 1))
    found = by_shifts(lambda x: x + error, images) - images
    # Inside a picture five errors of neighbouring places are averaged.
    mean = error + sum(np.roll(error, by, axis) for by in (-1, 1) for axis in (0, 1))
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], np.broadcast_to(mean[1:-1, 1:-1] / 5, (2, 4, 3, 3)), atol=1e-6)


def test_as_a_whole_a_picture_passes_through_the_size_of_the_model():
    seen = []
    picture = np.repeat(np.repeat(RNG.uniform(size=(4, 3, 1)), 5, 0), 5, 1).astype(np.float32)
    found = as_whole(lambda tiles: seen.append(tiles.shape) or tiles, picture, (4, 3))
    assert (seen, found.shape) == ([(1, 4, 3, 1)], picture.shape)
    np.testing.assert_allclose(resized(picture, (4, 3)), picture[::5, ::5], atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 128])
def test_no_picture_depends_on_the_batch(denoising, size, monkeypatch):
    trained, pictures = load(denoising), [RNG.uniform(size=(20, 30, 1)).astype(np.float32)]
    before = restore(trained, pictures)["restored"][0]
    monkeypatch.setattr("vae_jax.trained.batch_for", lambda count, _: min(count, size))
    np.testing.assert_allclose(restore(trained, pictures)["restored"][0], before, atol=1e-4)


def test_colour_is_added_to_a_picture_of_any_size(colorizing):
    picture = RNG.uniform(size=(30, 21, 3)).astype(np.float32)
    for by in None, "tiles":
        restored = restore(load(colorizing), [picture], by)["restored"][0]
        np.testing.assert_allclose(luminance(restored[None]), luminance(picture[None]), atol=1e-5)


def test_the_script_measures_and_restores(denoising, tmp_path):
    succeed(f"--workdir={denoising}", "--evaluate")
    methods = json.loads((denoising / "restoration.json").read_text())["methods"]
    assert {"input", "model", "model_by_shifts", "model_from_file", "linear_optimum", "median", "pca"} == set(methods)
    assert Image.open(denoising / "pictures" / "restoration.png").width >= 640
    sizes = {"same.png": (8, 8), "large.jpg": (40, 25), "small.gif": (5, 6)}
    for name, size in sizes.items():
        Image.fromarray(RNG.integers(0, 256, size[::-1], dtype=np.uint8)).save(tmp_path / name)
    out = tmp_path / "out"
    succeed(f"--workdir={denoising}", f"--out={out}", "--corrupt", *(tmp_path / name for name in sizes))
    assert {path.name for path in out.iterdir()} == {"same.png", "large.png", "small.png", "before_after.png"}
    for name, size in sizes.items():
        picture = Image.open(out / name.replace("jpg", "png").replace("gif", "png"))
        assert (picture.size, picture.mode) == (size, "L")


def test_a_picture_of_the_models_size_is_what_the_model_makes_of_it(denoising, tmp_path):
    pixels = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    succeed(f"--workdir={denoising}", tmp_path / "mine.png", f"--out={tmp_path / 'out'}", "--invert")
    trained, given = load(denoising), 1 - pixels[None, ..., None].astype(np.float32) / 255
    expected = 1 - trained.reconstruct(given)[0, ..., 0]
    found = np.asarray(Image.open(tmp_path / "out" / "mine.png")) / 255
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1 / 255)
    shifted = restore(trained, list(given), shifts=True)["restored"][0]
    np.testing.assert_allclose(shifted, np.clip(by_shifts(trained.reconstruct, given)[0], 0, 1), atol=1e-5)


@pytest.mark.parametrize(
    "flags, code, message",
    [
        ("", 2, "no pictures are given"),
        ("--evaluate {t}/a.png", 2, "pictures and --evaluate do not go together"),
        ("--evaluate --corrupt", 2, "--corrupt and --evaluate"),
        ("missing.png", 65, "no picture missing.png"),
        ("{t}/a/x.png {t}/b/x.jpg", 2, "a/x.png"),
        ("{t}/before_after.png", 2, "the sheet"),
        ("{t}/a/x.png --out={t}/a", 2, "written over itself"),
        ("{t}/a/x.png --out={t}/a/x.png", 73, "cannot be written"),
        ("{t}/a/x.png --label=3", 2, "was not given labels"),
        ("{t}/a/x.png --by=half", 2, "--by"),
    ],
)
def test_a_mistake_is_one_line(denoising, tmp_path, flags, code, message):
    for name in ("a/x.png", "b/x.jpg", "before_after.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    assert message in script_refusal(code, "restore", f"--workdir={denoising}", *flags.format(t=tmp_path).split())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_without_a_corruption_is_refused(saved_run):
    folder = saved_run("digits.py:variant=autoencoder,runlocal")
    assert "without a corruption" in script_refusal(2, "restore", f"--workdir={folder}", "--evaluate")
