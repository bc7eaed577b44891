"""Looking at generation, as a function and as a script, on saved runs of the embedded digits."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.refusals import script_refusal
from tests.script import output_of
from vae_jax.tasks.generation import draw, interpolations, look, walks
from vae_jax.tasks.samplers import Wanted
from vae_jax.tasks.saved import open_saved


@pytest.fixture(
    scope="module", params=["vae", *(pytest.param(name, marks=pytest.mark.long) for name in ("autoencoder", "cvae"))]
)
def saved(request, saved_run):
    return open_saved(saved_run(f"digits.py:variant={request.param},runlocal"), None)


def test_figures_and_pictures_of_every_kind_of_model(saved):
    figures, pictures = look(saved, num=200, seed=0)
    assert json.loads((saved.folder / "generation.json").read_text()) == figures
    assert 0 < figures["sharpness_pca_reconstructions"] < 1
    assert 0 < figures["sharpness_samples"] < 1
    assert 0 < figures["nearest_train_rmse_samples"] < figures["nearest_train_rmse_test"] * 3
    assert ("conditional_accuracy" in figures) == saved.trained.conditional
    assert ("class_shares_samples" in figures) != saved.trained.conditional
    assert (figures["sampler"] == "gaussian") == (saved.trained.model.sample is None)
    assert (figures["fidelity_num_test"], figures["fidelity_num_train"]) == (200, 200)
    assert 0 < figures["frechet_distance_train"] < figures["frechet_distance_samples"]
    assert figures["precision_train"] > 0.7 < figures["coverage_train"]
    assert figures["coverage_samples"] < figures["coverage_train"]
    assert all(Image.open(path).size[0] >= 640 for path in pictures)


def test_draws_follow_the_seed(saved):
    train = saved.seen("train")
    first, again, other = (draw(saved.trained, train, Wanted(20, seed=seed)) for seed in (0, 0, 1))
    assert first.shape == (20, 8, 8, 1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_interpolations_end_in_reconstructions(saved):
    test = saved.seen("test", 16)
    rows = interpolations(saved.trained, test).reshape(8, 12, 8, 8, 1)
    labels = test["label"] if saved.trained.conditional else None
    again = saved.trained.reconstruct(test["image"], labels)
    np.testing.assert_allclose(rows[:, 0], again[:8], atol=1e-5)
    if labels is None:
        np.testing.assert_allclose(rows[:, -1], again[8:], atol=1e-5)


def test_walks_move_one_latent_per_row(saved):
    test = saved.seen("test", 50)
    latents = saved.trained.config["model"]["latent"]
    rows = walks(saved.trained, test).reshape(min(8, latents), 12, 8, 8, 1)
    assert (np.abs(rows[:, 0] - rows[:, -1]).max((1, 2, 3)) > 1e-3).all()


@pytest.mark.long
def test_script(saved_run):
    folder = saved_run("digits.py:variant=vae,runlocal")
    out = output_of("look", f"--workdir={folder}", "--num=50", "--seed=3", "--sampler=gmm")
    assert "frechet_distance_samples" in out
    figures = json.loads((folder / "generation.json").read_text())
    assert (figures["seed"], figures["sampler"]) == (3, "gmm")
    for flag in "--num=0", "--seed=-1", "--data_dir", "--sampler=gm":
        script_refusal(2, "look", f"--workdir={folder}", flag)
