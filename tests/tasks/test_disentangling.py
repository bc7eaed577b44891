"""Disentanglement of a run: figures of known codes, and what is refused, as a function and as a script."""

import json

import jax
import numpy as np
import pytest

from tests.refusals import script_refusal
from tests.variants import load_small
from vae_jax.data.dataset import Dataset, Split
from vae_jax.data.feed import make_spec
from vae_jax.errors import ConfigError
from vae_jax.evaluation.disentanglement import (
    mutual_information_gap,
    total_correlation_bound,
    total_correlation_gaussian,
)
from vae_jax.tasks.disentangling import disentangle
from vae_jax.tasks.saved import Saved
from vae_jax.trained import Trained, make_model

FACTORS = {"left": 2, "right": 2, "still": 1}


def dataset(factors=True):
    """Pictures of four pixels, of which two are factors."""
    values = np.random.default_rng(0).integers(0, 2, (200, 4)).astype(np.int32)
    pictures = values.astype(np.uint8).reshape(-1, 2, 2, 1)
    known = np.pad(values[:, :2], ((0, 0), (0, 1))) if factors else None
    split = Split(pictures, None, known)
    return Dataset("two", dict.fromkeys(("train", "validation", "test"), split), 1, 0, "", FACTORS if factors else {})


def saved(folder, data, variant="zoo_disentangling.py:variant=ada_gvae"):
    """A model whose encoder is that of its start."""
    config, spec = load_small(variant), make_spec(data, "unit")
    model = make_model(config, spec)
    return Saved(folder, Trained(config, spec, model, *model.init(jax.random.key(0))), data)


def test_figures_are_those_of_the_codes_and_the_draws_of_the_chosen_pictures(tmp_path):
    run = saved(tmp_path, dataset())
    found = disentangle(run, 100, seed=3)
    assert json.loads((tmp_path / "disentanglement.json").read_text()) == found
    images, factors = run.dataset.splits["test"].images[::2] / 1.0, run.dataset.splits["test"].factors[::2]
    codes, draws = run.trained.encode(images), run.trained.draw(images, seed=3, index=np.arange(100))
    assert found["num_examples"] == 100
    assert found["total_correlation_means_nats"] == pytest.approx(total_correlation_gaussian(codes), rel=1e-4)
    assert found["total_correlation_draws_nats"] == pytest.approx(total_correlation_gaussian(draws), rel=1e-4)
    assert found["mutual_information_gap"] == pytest.approx(mutual_information_gap(codes, factors)) != 0
    train = run.dataset.splits["train"].images / 1.0
    learned = run.trained.draw(train, seed=3 + 2**31, index=np.arange(len(train)))
    assert found["total_correlation_bound_nats"] == pytest.approx(total_correlation_bound(learned, draws, 3), abs=1e-3)
    assert found["mutual_information_gap"] == pytest.approx((found["gap_left"] + found["gap_right"]) / 2)
    assert "gap_still" not in found
    distortion = run.trained.evaluate(images, index=np.arange(100))["distortion_nats"].mean()
    assert found["distortion_nats"] == pytest.approx(distortion, rel=1e-5)
    assert disentangle(run, 100, seed=4)["total_correlation_draws_nats"] != found["total_correlation_draws_nats"]


def test_a_model_without_draws_has_none(tmp_path):
    found = disentangle(saved(tmp_path, dataset(), "digits.py:variant=autoencoder"), 1000)
    assert not {"total_correlation_bound_nats", "total_correlation_draws_nats"} & found.keys()
    assert found["num_examples"] == 200


def test_data_without_factors_and_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="factors of data 'two' are not known"):
        disentangle(saved(tmp_path, dataset(factors=False)), 100)
    with pytest.raises(ConfigError, match="3 test pictures are too few for a code of 3 numbers; raise --num"):
        disentangle(saved(tmp_path, dataset()), 3)
    assert not list(tmp_path.iterdir())


def test_script_refuses_in_one_line(saved_run):
    folder = saved_run("digits.py:variant=vae,runlocal")
    assert "factors of data 'digits' are not known" in script_refusal(2, "disentangle", f"--workdir={folder}")
    for flag in "--num=0", "--seed=-1":
        assert flag in script_refusal(2, "disentangle", f"--workdir={folder}", flag)
