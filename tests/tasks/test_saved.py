"""A saved run opened with its data, and the batched methods of a trained model."""

import json

import numpy as np
import pytest

from vae_jax.data.sources.embedded import digits
from vae_jax.errors import ConfigError, DataError
from vae_jax.tasks.saved import open_saved
from vae_jax.trained import load


@pytest.fixture(scope="module")
def folder(saved_run):
    return saved_run("digits.py:variant=vae,runlocal")


def test_seen_is_the_split_as_the_model_sees_it(folder):
    saved = open_saved(folder, None)
    seen, images = saved.seen("test"), digits(None).splits["test"].images
    np.testing.assert_allclose(seen["image"], images / 16, atol=1e-6)
    np.testing.assert_array_equal(seen["label"], digits(None).splits["test"].labels)
    assert len(saved.seen("train", 100)["image"]) == 100


def test_measures_of_single_pictures_are_those_of_the_run(folder):
    saved = open_saved(folder, None)
    images = saved.seen("test")["image"]
    figures = json.loads((folder / "results.json").read_text())["test"]
    values = saved.trained.evaluate(images, index=np.arange(len(images)))
    assert values["neg_elbo_nats"].shape == (len(images),)
    assert values["neg_elbo_nats"].mean() == pytest.approx(figures["neg_elbo_nats"], rel=1e-5)
    nll = saved.trained.neg_log_likelihood(images[:40], num_samples=figures["nll_num_samples"])
    assert nll.shape == (40,)
    gap = values["neg_elbo_nats"][:40] - nll  # of single draws
    assert gap.mean() > -5 * gap.std() / 40**0.5


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.long), 7, 128])
def test_no_method_depends_on_how_pictures_are_batched(folder, size, monkeypatch):
    trained, images = load(folder), open_saved(folder, None).seen("test")["image"][:130]
    before = trained.encode(images), trained.reconstruct(images), trained.evaluate(images)["neg_elbo_nats"]
    monkeypatch.setattr("vae_jax.trained.batch_for", lambda count, _: min(count, size))
    after = trained.encode(images), trained.reconstruct(images), trained.evaluate(images)["neg_elbo_nats"]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_other_data_and_models_without_a_likelihood_are_refused(folder, saved_run, tmp_path):
    autoencoder = load(saved_run("digits.py:variant=autoencoder,runlocal"))
    with pytest.raises(ConfigError, match="no likelihood"):
        autoencoder.neg_log_likelihood(np.zeros((1, 8, 8, 1)))
    for name in ("config.json", "manifest.json", "checkpoints"):
        (tmp_path / name).symlink_to(folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"]["sha256"] = "0" * 64
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="not the data of the run"):
        open_saved(tmp_path, None)
