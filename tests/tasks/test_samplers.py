"""Every sampler on saved runs of the embedded digits: with a prior and without, with labels and without."""

import numpy as np
import pytest
from PIL import Image

from tests.refusals import script_refusal
from tests.script import output_of
from vae_jax.build import components
from vae_jax.errors import ConfigError
from vae_jax.tasks import densities, samplers
from vae_jax.tasks.generation import gallery
from vae_jax.tasks.samplers import Wanted
from vae_jax.tasks.saved import open_saved

OF_CODES = ("gaussian", "gmm", "nearest_posterior")
TRAINED = ("flow", "two_stage")


@pytest.fixture(scope="module")
def opened(saved_run):
    folders = {name: saved_run(f"digits.py:variant={name},runlocal") for name in ("vae", "cvae", "autoencoder")}
    saved = {name: open_saved(folder, None) for name, folder in folders.items()}
    return {name: (one.trained, gallery(one)) for name, one in saved.items()}


def test_all_samplers_are_here():
    assert set(components("tasks.samplers")) == {"prior", *OF_CODES, *TRAINED}


@pytest.mark.parametrize("name", OF_CODES)
@pytest.mark.parametrize("kind", ["vae", "cvae", "autoencoder"])
def test_pictures_follow_seed_and_temperature(opened, kind, name):
    sampler, (trained, train), label = getattr(samplers, name), opened[kind], 3 if kind == "cvae" else None
    first, again, other = (sampler(trained, train, Wanted(12, label, seed=seed)) for seed in (0, 0, 1))
    assert first.shape == (12, 8, 8, 1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05
    cold = sampler(trained, train, Wanted(100, label, temperature=0.0))
    assert len(np.unique(cold.round(4), axis=0)) <= (10 if name == "gmm" else 1)


def test_each_label_of_a_conditional_model_has_the_density_of_its_own_codes(opened, monkeypatch):
    trained, train = opened["cvae"]
    given = []

    def first_ones(codes, num, temperature, seed):
        given.append((len(codes), num, temperature, seed))
        return codes[:num]

    monkeypatch.setattr(densities, "gaussian", first_ones)
    drawn = samplers.gaussian(trained, train, Wanted(25, temperature=0.7, seed=5))
    codes = trained.draw(train["image"], train["label"], 5, np.arange(len(train["image"])))
    counts = np.bincount(train["label"])
    assert given == [(counts[label], 3 if label < 5 else 2, 0.7, 5 + label) for label in range(10)]
    order = np.array([np.flatnonzero(train["label"] == i % 10)[i // 10] for i in range(25)])
    np.testing.assert_allclose(drawn, trained.decode(codes[order], train["label"][order]), atol=1e-5)


@pytest.mark.parametrize("name", OF_CODES)
def test_a_conditional_model_draws_the_label_asked_for(opened, name):
    trained, train = opened["cvae"]
    seven = train["image"][train["label"] == 7].mean(0)
    alone = getattr(samplers, name)(trained, train, Wanted(40, label=7))
    np.testing.assert_allclose(alone.mean(0), seven, atol=0.4)


def test_nearest_posterior_gives_reconstructions_where_codes_are_exact_and_draws_elsewhere(opened):
    gaps = {}
    for kind in "autoencoder", "vae":
        trained, train = opened[kind]
        drawn, known = samplers.nearest_posterior(trained, train, Wanted(9)), trained.reconstruct(train["image"])
        gaps[kind] = np.abs(drawn[:, None] - known[None]).max((2, 3, 4)).min(1).max()
    assert gaps["autoencoder"] < 1e-5 and gaps["vae"] > 1e-3


def test_draws_of_the_posterior_scatter_around_its_mean(opened):
    trained, train = opened["vae"]
    few = train["image"][:50]
    codes, draws = trained.encode(few), np.stack([trained.draw(few, seed=seed) for seed in range(20)])
    scatter = draws.std(0)
    assert scatter.min() > 0.01
    assert np.abs(((draws.mean(0) - codes) / scatter * 20**0.5).mean()) < 0.4


def test_what_cannot_be_sampled_is_refused(opened):
    trained, train = opened["autoencoder"]
    with pytest.raises(ConfigError, match="no prior to sample from"):
        samplers.prior(trained, None, Wanted(3))
    with pytest.raises(ConfigError, match="was not given labels"):
        samplers.gmm(trained, train, Wanted(3, label=1))
    trained, train = opened["cvae"]
    for sampler in samplers.flow, samplers.two_stage:
        with pytest.raises(ConfigError, match="--sampler=gmm or gaussian"):
            sampler(trained, train, Wanted(3))
    with pytest.raises(ConfigError, match="1 training pictures of label 0 are too few"):
        samplers.gaussian(trained, {name: values[:1] * 0 for name, values in train.items()}, Wanted(3, label=0))


@pytest.mark.long
def test_script(saved_run, tmp_path, monkeypatch):
    folder = saved_run("digits.py:variant=autoencoder,runlocal")
    monkeypatch.delenv("VAE_JAX_DATA_DIR", raising=False)
    for number, flags in enumerate(([], ["--sampler=two_stage"])):
        out = tmp_path / f"{number}.png"
        output_of("sample", f"--workdir={folder}", "--num=4", f"--out={out}", *flags)
        assert Image.open(out).size[0] >= 16
    flags = f"--workdir={folder}", "--sampler=prior", f"--out={tmp_path / 'none.png'}"
    assert "--sampler=gmm" in script_refusal(2, "sample", *flags)
    assert not (tmp_path / "none.png").exists()
