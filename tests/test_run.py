"""A whole run in one process: what it writes, that it repeats to the bit, that nothing of the test split leaks."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.variants import load
from vae_jax import run as runs
from vae_jax.data.dataset import Split
from vae_jax.data.feed import make_feed
from vae_jax.data.load import load_dataset
from vae_jax.data.order import evenly_spaced
from vae_jax.errors import DataError, StorageError
from vae_jax.evaluation.splits import per_example
from vae_jax.evaluation.summary import make_evaluate
from vae_jax.results import evaluate_split
from vae_jax.trained import load as load_trained
from vae_jax.training import checkpoint
from vae_jax.training.folder import open_folder
from vae_jax.training.optim import make_hypers

# Without the optimisations that users have, streamed data and data in memory differ in bits.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("optimised")]

SMALL = {
    "model__encoder__hidden": (16,),
    "train__epochs": 4,
    "train__eval_every_epochs": 2,
    "train__steps_per_call": 7,
    "evaluate__num_importance_samples": 5,
}


def train(folder, change_data=lambda dataset: dataset, **overrides):
    config = load("digits.py:variant=vae", **SMALL | overrides)
    dataset = load_dataset(config, None)
    with open_folder(folder, config) as opened:
        return runs.run(config, change_data(dataset), opened)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(load("digits.py:variant=vae"), None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    return folder, train(folder)


def test_a_file_ends_it_early_and_in_good_order(tmp_path, finished):
    config = load("digits.py:variant=vae", **SMALL)
    with open_folder(tmp_path / "run", config):
        pass
    (tmp_path / "run" / "STOP").touch()
    results, whole = train(tmp_path / "run"), finished[1]
    assert results["steps"] == results["best_step"] == 2 * (1297 // 64)  # the first validation
    assert results["stopped"] == "request" and "stopped" not in whole
    assert results["test"].keys() == whole["test"].keys()


def test_folder_holds_everything_a_reader_needs(finished):
    folder, results = finished
    names = {p.name for p in folder.iterdir()}
    assert names >= {"config.json", "manifest.json", "metrics.jsonl", "results.json", "checkpoints", "tensorboard"}
    pictures = {"reconstructions.png", "samples.png", "loss.png", "latent_map.png", "latent_walk.png"}
    assert {p.name for p in (folder / "pictures").iterdir()} == pictures
    assert json.loads((folder / "results.json").read_text()) == results
    assert {"neg_elbo_nats", "nll_nats", "nll_nats_standard_error", "nll_num_samples", "mse"} <= set(results["test"])
    assert {"pca_mse", "ppca_nll_density_nats"} <= set(results["baselines"])
    assert results["steps"] == 4 * (1297 // 64)
    assert results["images_per_second"] > 0 < results["seconds_to_first_step"] < results["seconds_total"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data"]["sizes"] == {"train": 1297, "validation": 250, "test": 250}
    assert len(manifest["data"]["sha256"]) == len(manifest["config_sha256"]) == 64
    assert manifest["packages"]["jax"] == manifest["jax"]["version"]


def test_trackers_are_told_the_settings_the_results_and_the_pictures(finished):
    events = b"".join(path.read_bytes() for path in (finished[0] / "tensorboard").iterdir())
    for word in b"train/images_per_second", b"test/neg_elbo_nats", b"baselines/pca_mse", b"samples", b"hypers.beta":
        assert word in events


def test_metrics_have_a_row_per_call_and_per_validation(finished):
    rows = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if r["split"] == "train"] == [7, 14, 21, 28, 35, 40, 47, 54, 61, 68, 75, 80]
    assert [r["step"] for r in rows if r["split"] == "validation"] == [40, 80]
    assert rows[-2]["loss"] < rows[0]["loss"]


def test_a_second_run_is_equal_to_the_bit(finished, tmp_path):
    folder, results = finished
    again = train(tmp_path / "again")
    assert again["state_sha256"] == results["state_sha256"]
    assert again["test"] == results["test"]
    assert (tmp_path / "again" / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    assert train(tmp_path / "other", seed=1)["state_sha256"] != results["state_sha256"]


@pytest.mark.long
def test_steps_per_call_changes_no_parameter(finished, tmp_path):
    assert train(tmp_path / "long", train__steps_per_call=100)["state_sha256"] == finished[1]["state_sha256"]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_a_streamed_run_is_the_run_in_memory(finished, dataset, tmp_path, workers):
    folder, results = finished
    streamed = train(tmp_path / "streamed", data__memory_mb=0.0, data__workers=workers)
    assert (tmp_path / "streamed" / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    for name in ("state_sha256", "test", "baselines", "best_step"):
        assert streamed[name] == results[name]
    again = evaluate_split(tmp_path / "streamed", dataset, "test", 5)
    assert again == pytest.approx(results["test"], rel=1e-6)


@pytest.mark.long
def test_short_products_change_the_figures_a_little_and_are_on_record(finished, dataset, tmp_path):
    precise, manifest = finished[1], json.loads((finished[0] / "manifest.json").read_text())
    assert manifest["precision"] == {"train": "fp32", "evaluate": "fp32"}
    evaluated = train(tmp_path / "evaluated", evaluate__precision="bf16")
    assert evaluated["state_sha256"] == precise["state_sha256"]
    for name in ("neg_elbo_nats", "nll_nats"):
        assert evaluated["test"][name] != precise["test"][name]
        assert evaluated["test"][name] == pytest.approx(precise["test"][name], abs=0.2)
    trained = train(tmp_path / "trained", train__precision="bf16")
    assert trained["state_sha256"] != precise["state_sha256"]
    assert trained["test"]["neg_elbo_nats"] == pytest.approx(precise["test"]["neg_elbo_nats"], abs=1)
    images = dataset.splits["test"].images / 16
    again = load_trained(tmp_path / "evaluated").evaluate(images, index=np.arange(len(images)))
    assert again["neg_elbo_nats"].mean() == pytest.approx(evaluated["test"]["neg_elbo_nats"], rel=1e-6)


def test_a_finished_run_is_not_run_again(finished):
    before = (finished[0] / "metrics.jsonl").stat().st_mtime_ns
    assert train(finished[0]) == finished[1]
    assert (finished[0] / "metrics.jsonl").stat().st_mtime_ns == before


def invert_test_images(dataset):
    test = dataset.splits["test"]
    return dataset._replace(splits=dataset.splits | {"test": Split(16 - test.images, test.labels)})


def test_other_test_images_change_nothing_that_is_trained_or_chosen(finished, tmp_path):
    folder, results = finished
    other = train(tmp_path / "inverted", invert_test_images)
    assert (other["state_sha256"], other["best_step"]) == (results["state_sha256"], results["best_step"])
    assert (tmp_path / "inverted" / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    assert other["test"]["mse"] != results["test"]["mse"]


def test_evaluating_the_saved_run_gives_its_results(finished, dataset):
    folder, results = finished
    again = evaluate_split(folder, dataset, "test", 5)
    assert again == pytest.approx(results["test"], rel=1e-6)
    some = evaluate_split(folder, dataset, "test", 1, num_images=9)
    assert (some["nll_num_samples"], some["num_examples"]) == (1, 9)
    images, spread = dataset.splits["test"].images / np.float32(16), evenly_spaced(250, 9)
    expected = load_trained(folder).evaluate(images[spread], index=spread)["neg_elbo_nats"].mean()
    assert some["neg_elbo_nats"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 128])
def test_evaluation_does_not_depend_on_its_batch_size(finished, dataset, batch_size):
    folder, results = finished
    config, trained = load("digits.py:variant=vae", **SMALL), load_trained(folder)
    evaluate = make_evaluate(trained.model, make_feed(config.data, dataset, "test"))
    hypers = make_hypers(config.hypers, 20)
    values = per_example(lambda i: evaluate(i, trained.params, trained.stats, hypers), 250, batch_size)
    assert values["neg_elbo_nats"].mean() == pytest.approx(results["test"]["neg_elbo_nats"], rel=1e-5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: [],
        lambda lines: lines[:4],
        lambda lines: [lines[0], *lines],
        lambda lines: [lines[0].replace('"loss": ', '"loss": 1'), *lines[1:]],
        sorted,
    ],
    ids=["emptied", "cut", "doubled", "edited", "sorted"],
)
def test_an_interrupted_run_does_not_go_on_with_rows_that_are_not_its_own(stopped, tmp_path, damage):
    path = pathlib.Path(shutil.copytree(stopped, tmp_path / "run")) / "metrics.jsonl"
    before = path.read_text()
    path.write_text("".join(damage(before.splitlines(keepends=True))))
    with pytest.raises(StorageError, match=r"a row after step \d+ and up to step \d+ was changed, lost or doubled"):
        train(tmp_path / "run", checkpoint__every_seconds=0.0)
    path.write_text(before)
    train(tmp_path / "run", checkpoint__every_seconds=0.0)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was interrupted between a row and the save after it."""
    folder, save = tmp_path_factory.mktemp("stopped") / "run", checkpoint.Checkpoints.save

    def interrupted(self, step, *saved):
        if step == 47:
            raise KeyboardInterrupt
        save(self, step, *saved)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.Checkpoints, "save", interrupted)
        train(folder, checkpoint__every_seconds=0.0)
    return folder


def test_finished_run_refuses_other_data(finished):
    with pytest.raises(DataError, match="not the data of the run"):
        train(finished[0], invert_test_images)


@pytest.mark.long
def test_autoencoder_run_has_no_likelihood_and_no_samples(tmp_path):
    results = runs.train(load("digits.py:variant=denoising", **SMALL), tmp_path / "ae")
    assert "nll_nats" not in results["test"]
    assert results["baselines"]["pca_mse"] > 0
    assert not (tmp_path / "ae" / "pictures" / "samples.png").exists()
    with pytest.raises(ValueError, match="no prior to sample from"):
        load_trained(tmp_path / "ae").sample(3)
