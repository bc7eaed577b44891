"""One-class detection on the embedded digits: the protocol, the scores, the baselines."""

import functools
import inspect
import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from tests.script import output_of
from tests.variants import load
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, DataError
from vae_jax.evaluation.baselines import fit_pca
from vae_jax.reporting.progress import say
from vae_jax.tasks.anomaly import baselines, one_class, synthetic
from vae_jax.tasks.anomaly.report import table
from vae_jax.tasks.anomaly.scores import look, scores_of, smooth_squares

SPEC = "one_class.py:variant=digits,runlocal"


@functools.cache
def trained():
    config = load(SPEC)
    dataset = load_dataset(config, None)
    models, _ = one_class.train_classes(config, dataset, False, say)
    return config, dataset, models, *one_class.normal_and_test(config, dataset)


@functools.cache
def scored(number):
    _, _, models, normal, pictures = trained()
    known = normal[number]
    return one_class.score_class(models[number], known["train"], known["held_out"], pictures, 5)


def seen(number):
    *_, models, normal, pictures = trained()
    known, model = normal[number], models[number]
    return look(model, known["train"]), *(numbered(model, images) for images in (known["held_out"], pictures))


def numbered(model, images):
    return look(model, images, 5, index=np.arange(len(images)))


def test_normal_pictures_are_those_of_the_class_and_never_of_test():
    _, dataset, _, normal, pictures = trained()
    np.testing.assert_allclose(pictures, dataset.splits["test"].images / 16, atol=1e-6)
    for number, known in enumerate(normal):
        for name, split in {"train": "train", "held_out": "validation"}.items():
            expected = dataset.splits[split].images[dataset.splits[split].labels == number] / 16
            np.testing.assert_allclose(known[name], expected, atol=1e-6)


def test_no_pixel_of_another_class_reaches_a_model():
    config, dataset, models, *_ = trained()
    splits = dict(dataset.splits)
    for name in ("train", "validation"):
        split = splits[name]
        images = np.where((split.labels == 3)[:, None, None, None], split.images, 16 - split.images)
        splits[name] = split._replace(images=images.astype(split.images.dtype))
    changed, _ = one_class.train_classes(config, dataset._replace(splits=splits), False, say)
    pictures = trained()[-1]
    np.testing.assert_array_equal(changed[3].encode(pictures), models[3].encode(pictures))
    assert np.abs(changed[4].encode(pictures) - models[4].encode(pictures)).max() > 0.1


def test_models_know_how_many_pictures_a_class_has():
    _, dataset, models, *_ = trained()
    assert {model.spec.num_examples for model in models} == {round(dataset.sizes["train"] / 10)}


def test_test_labels_enter_the_figures_alone():
    parameters = set(inspect.signature(one_class.score_class).parameters)
    assert parameters == {"trained", "train", "held_out", "pictures", "num_samples"}
    config, dataset, models, *_ = trained()
    test = dataset.splits["test"]
    permuted = test._replace(labels=np.random.default_rng(0).permutation(test.labels))
    other = dataset._replace(splits=dataset.splits | {"test": permuted})
    again, pictures = one_class.normal_and_test(config, other)
    repeated = one_class.score_class(models[2], again[2]["train"], again[2]["held_out"], pictures, 5)
    for name, values in scored(2).scores.items():
        np.testing.assert_array_equal(values, repeated.scores[name])
    assert scored(2).thresholds == repeated.thresholds
    assert scored(2).synthetic == repeated.synthetic
    inverted = one_class.score_class(models[2], again[2]["train"], again[2]["held_out"], 1 - pictures[:50], 5)
    assert (inverted.synthetic, inverted.thresholds) == (repeated.synthetic, repeated.thresholds)
    by_class = [scored(2)] * 10
    assert one_class.measure(by_class, test.labels) != one_class.measure(by_class, permuted.labels)


@pytest.mark.parametrize("size", [1, 7, 128])
def test_no_score_depends_on_how_pictures_are_batched(size, monkeypatch):
    _, _, models, normal, pictures = trained()
    before = scored(2)
    monkeypatch.setattr("vae_jax.trained.batch_for", lambda count, _: min(count, size))
    monkeypatch.setattr("vae_jax.trained.importance_batches", lambda _: (min(size, 20), 5))
    few = pictures[:130]
    known, held_out, asked = (numbered(models[2], x) for x in (normal[2]["train"], normal[2]["held_out"], few))
    for name, fit in scores_of(models[2]).items():
        values = fit(known, held_out)(asked)
        np.testing.assert_allclose(values, before.scores[name][:130], rtol=2e-3, atol=2e-3, err_msg=name)


def test_thresholds_flag_a_twentieth_of_held_out_pictures():
    known, held_out, _ = seen(1)
    for name, fit in scores_of(trained()[2][1]).items():
        above = fit(known, held_out)(held_out) > scored(1).thresholds[name]
        assert 0 < above.mean() <= 0.1, name


def test_scores_are_what_their_formulas_say():
    known, held_out, asked = seen(0)
    score = {name: fit(known, held_out)(asked) for name, fit in scores_of(trained()[2][0]).items()}
    error = trained()[2][0].evaluate(asked.images)["mse"] * 64
    np.testing.assert_allclose(score["reconstruction_error"], error, rtol=1e-4)
    np.testing.assert_allclose(score["typicality"], abs(score["neg_log_likelihood"] - held_out.nll.mean()))
    prior = -multivariate_normal(np.zeros(8)).logpdf(asked.codes) - 4 * np.log(2 * np.pi)
    np.testing.assert_allclose(score["prior_density"], prior, rtol=1e-4)
    np.testing.assert_allclose(
        score["latent_centre_distance"], ((asked.codes - known.codes.mean(axis=0)) ** 2).sum(axis=1), rtol=1e-4
    )
    # One component for so few pictures: a Gaussian.
    cov = np.cov(known.codes.T, bias=True) + 1e-3 * np.eye(8)
    expected = -multivariate_normal(known.codes.mean(axis=0), cov).logpdf(asked.codes)
    np.testing.assert_allclose(score["latent_density"], expected, rtol=1e-3)
    gap = score["neg_elbo"] - score["neg_log_likelihood"]
    assert gap.mean() > -5 * gap.std() / len(gap) ** 0.5


def test_smoothing_forgives_a_shift_and_not_a_loss():
    line = np.zeros((1, 12, 12, 1))
    line[0, :, 6] = 1
    shifted, lost = np.roll(line, 1, axis=2) - line, line
    assert np.square(shifted).sum() == 2 * np.square(lost).sum()
    assert smooth_squares(shifted)[0] < smooth_squares(lost)[0]


def test_kernel_density_is_the_mean_of_the_kernels_of_the_likeliest_width():
    *_, normal, pictures = trained()
    train, held_out, asked = (x.reshape(len(x), -1).astype(float) for x in (*normal[5].values(), pictures))

    def neg_log_density(x, width):
        kernels = -cdist(x, train, "sqeuclidean") / (2 * width**2) - 32 * np.log(2 * np.pi * width**2)
        return np.log(len(train)) - logsumexp(kernels, axis=1)

    widths = [0.05, *np.arange(0.1, 1.01, 0.1)]
    best = min(widths, key=lambda width: neg_log_density(held_out, width).mean())
    constant = 32 * np.log(2 * np.pi * best**2)
    found = baselines.kernel_density(normal[5]["train"], normal[5]["held_out"])(pictures)
    np.testing.assert_allclose(found + constant, neg_log_density(asked, best), rtol=1e-3, atol=1e-3)


def test_baselines_tell_digits_apart():
    labels = trained()[1].splits["test"].labels
    figures = one_class.measure([scored(number) for number in range(3)], labels)
    for fit in baselines.BASELINES:
        assert figures[fit.__name__]["mean"]["auroc"] > 0.8, fit.__name__
    *_, normal, pictures = trained()
    pca = fit_pca(normal[0]["train"], 32)
    expected = np.square(pca.reconstruct(pictures) - pictures).sum((1, 2, 3))
    np.testing.assert_allclose(scored(0).scores["pca_reconstruction"], expected)


def test_synthetic_anomalies_are_made_of_normal_pictures():
    images = np.random.default_rng(0).random((9, 6, 8, 1)).astype(np.float32)
    for make in synthetic.SYNTHETIC:
        made = make(images)
        assert made.shape == images.shape
        np.testing.assert_array_equal(made, make(images))
        assert np.isin(made, images).all()
        assert (made != images).any((1, 2, 3)).all()


def test_a_density_under_the_standard_prior_is_asked_of_models_that_have_it():
    _, _, models, *_ = trained()
    assert "prior_density" in scores_of(models[0])
    other = models[0]._replace(config={"model": {"prior": {"name": "vamp"}}})
    assert scores_of(models[0]).keys() - scores_of(other).keys() == {"prior_density"}


def test_the_choice_is_the_best_mean_on_synthetic_anomalies():
    made = [one_class.Scored({}, {}, {"a": 0.9, "b": 0.7}), one_class.Scored({}, {}, {"a": 0.2, "b": 0.6})]
    assert one_class.choose(made) == ("b", {"a": pytest.approx(55), "b": pytest.approx(65)})


def test_a_run_that_starts_again_is_recorded_anew(tmp_path):
    config = load(SPEC)
    dataset = load_dataset(config, None)
    one_class._record(config, dataset, tmp_path)
    begun = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(begun | {"python": "3.0"}))
    one_class._record(config, dataset, tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["python"] == begun["python"]
    (tmp_path / "manifest.json").write_text(json.dumps(begun | {"python": "3.0"}))
    (tmp_path / one_class.RESULTS).touch()
    one_class._record(config, dataset, tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["python"] == "3.0"
    (tmp_path / one_class.RESULTS).unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(begun | {"data": begun["data"] | {"sha256": "0"}}))
    with pytest.raises(DataError):
        one_class._record(config, dataset, tmp_path)


def test_data_without_classes_and_conditional_models_are_refused():
    config, dataset, *_ = trained()
    with pytest.raises(ConfigError, match="no labels"):
        one_class.check(config, dataset._replace(num_classes=0))
    with pytest.raises(ConfigError, match=r"class 10 of 'digits' has no test picture"):
        one_class.check(config, dataset._replace(num_classes=11))
    with pytest.raises(ConfigError, match="told no label"):
        one_class.check(load(SPEC, model__condition=True), dataset)


def test_one_class_as_a_user_types_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")  # as this process has started
    flags = f"--config=configs/{SPEC}", f"--workdir={tmp_path / 'run'}"
    out = output_of("one_class", *flags)
    results = json.loads((tmp_path / "run" / "one_class.json").read_text())
    assert table(results) in out
    assert set(results["scores"]) == set(scored(0).scores)
    assert results["chosen"] == max(results["synthetic_auroc"], key=results["synthetic_auroc"].get)
    for name in ("config.json", "manifest.json", "pictures/one_class.png", "pictures/roc.png"):
        assert (tmp_path / "run" / name).is_file()
    figures = one_class.measure([scored(0)], trained()[1].splits["test"].labels)["pca_smooth_error"]["classes"][0]
    for name, value in results["scores"]["pca_smooth_error"]["classes"][0].items():
        assert value == pytest.approx(figures[name], abs=1e-6), name
    again = output_of("one_class", *flags)
    assert "holds this run, finished" in again
    assert table(results) in again
