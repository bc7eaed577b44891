"""Groups and probes of a saved run, and its script."""

import json
import shutil

import numpy as np
import pytest
import scipy.special
import scipy.stats
from threadpoolctl import threadpool_limits

from tests.refusals import script_refusal
from tests.script import output_of
from vae_jax.errors import ConfigError
from vae_jax.evaluation.clustering import Groups, agreement
from vae_jax.tasks.grouping import Pictures, _save_groups, check_clusters, group, together
from vae_jax.tasks.representations import represent
from vae_jax.tasks.saved import open_saved


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Draw a small map, on one thread: on a machine that is busy two threads wait for each other."""
    monkeypatch.setattr("vae_jax.tasks.grouping._MAPPED", 100)
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def folder(saved_run, tmp_path_factory):
    """A run of its own, into which results may be written."""
    folder = tmp_path_factory.mktemp("grouping") / "run"
    shutil.copytree(saved_run("digits.py:variant=autoencoder,runlocal", model__latent=6), folder)
    return folder


def with_labels(saved, change, num_classes=10):
    """Return the run with other labels: change(labels) of each split, or None."""
    splits = {name: split._replace(labels=change(split.labels)) for name, split in saved.dataset.splits.items()}
    return saved._replace(dataset=saved.dataset._replace(splits=splits, num_classes=num_classes))


def test_a_group_that_nobody_is_in_is_listed_and_has_no_row(tmp_path):
    images = np.linspace(0, 1, 4 * 64, dtype=np.float32).reshape(4, 8, 8, 1)
    pictures = Pictures({"latent": np.arange(8.0).reshape(4, 2)}, np.array([0, 0, 1, 1]), lambda index: images[index])
    groups = Groups(np.array([0, 0, 2, 2]), np.zeros((3, 2)), 0.0)
    about = _save_groups(tmp_path / "groups.png", groups, pictures)
    assert [(one["group"], one["size"]) for one in about] == [(0, 2), (2, 2), (1, 0)]
    assert (tmp_path / "groups.png").exists()


def test_labels_judge_and_choose_nothing(folder):
    saved = open_saved(folder, None)
    plain = group(saved, "test", None, [].append)
    renamed = group(with_labels(saved, lambda labels: (labels + 3) % 10), "test", None, [].append)
    shuffled = group(with_labels(saved, np.random.default_rng(0).permutation), "test", None, [].append)
    assert set(plain["clustering"]) == {"latent_kmeans", "latent_gaussian_mixture", "pixels_kmeans", "pca_kmeans"}
    for name, figures in plain["clustering"].items():
        assert renamed["clustering"][name] == pytest.approx(figures)
        assert shuffled["clustering"][name]["objective"] == figures["objective"]
        assert shuffled["clustering"][name]["ari"] == pytest.approx(0, abs=0.06)
    assert [group["size"] for group in plain["groups"]] == [group["size"] for group in shuffled["groups"]]
    assert sum(group["size"] for group in plain["groups"]) == plain["num_examples"] == 250
    assert sorted(group["label"] for group in plain["groups"]) == list(range(10))
    assert plain["clustering"]["pixels_kmeans"]["accuracy"] > 0.6
    probes = plain["probes"]
    assert set(probes) == {"latent", "pixels", "pca"}
    for kind in "knn", "linear":
        assert set(probes["pixels"][kind]) == {"10", "100", "all"}
        assert probes["pixels"][kind]["all"]["accuracy"] > 0.9 > probes["pixels"][kind]["10"]["accuracy"]
        assert shuffled["probes"]["pixels"][kind]["all"]["accuracy"] < 0.2


def test_without_labels_there_are_groups_and_no_figures_of_agreement(folder):
    saved, said = with_labels(open_saved(folder, None), lambda _: None, 0), []
    with pytest.raises(ConfigError, match="give --clusters=K"):
        group(saved, "test", None, said.append)
    results = group(saved, "test", 4, said.append)
    assert results["num_clusters"] == 4 and "probes" not in results
    assert set(results["clustering"]["latent_kmeans"]) == {"objective"}
    assert set(results["groups"][0]) == {"group", "size"}
    assert any("no labels" in line for line in said)


def test_a_conditional_model_is_refused(folder):
    saved = open_saved(folder, None)
    config = {**saved.trained.config, "model": {**saved.trained.config["model"], "condition": True}}
    with pytest.raises(ConfigError, match=r"model\.condition=True"):
        group(saved._replace(trained=saved.trained._replace(config=config)), "test", None, print)


def test_all_splits_are_grouped_together(folder):
    saved = open_saved(folder, None)
    results = group(saved, "all", 2, print)
    assert results["num_examples"] == 1797 == sum(group["size"] for group in results["groups"])
    splits = represent(saved, ("train", "validation", "test"))
    pictures = together(saved, splits, ("train", "validation", "test"))
    chosen = np.array([0, 1296, 1297, 1796])
    np.testing.assert_allclose(pictures.read(chosen).reshape(4, -1), pictures.vectors["pixels"][chosen])
    np.testing.assert_array_equal(pictures.labels[-250:], saved.dataset.splits["test"].labels)


def test_the_components_of_a_prior_are_groups_of_their_own(saved_run, tmp_path):
    small = {"model__latent": 2, "model__components": 6, "model__encoder__hidden": (16,), "train__batch_size": 64}
    spec = "zoo_clustering.py:variant=vade,runlocal"
    shutil.copytree(saved_run(spec, data__name="digits", **small), tmp_path / "run")
    saved = open_saved(tmp_path / "run", None)
    results = group(saved, "test", None, print)
    images, labels = saved.dataset.pictures("test", 250)
    codes = saved.trained.encode(images)
    prior = {name: np.asarray(value, np.float64) for name, value in saved.trained.params["prior"].items()}
    components = scipy.stats.norm(prior["loc"], np.exp(prior["log_scale"]))
    density = scipy.special.softmax(prior["log_weights"]) * components.pdf(codes[:, None]).prod(-1)
    found = results["clustering"]["latent_prior"]
    sizes = sorted(np.bincount(density.argmax(1), minlength=6))[::-1]  # a tie may be broken otherwise in float32
    assert found["accuracy"] == pytest.approx(agreement(labels, density.argmax(1))["accuracy"], abs=0.01)
    assert found["objective"] == pytest.approx(-np.log(density.sum(1)).mean(), rel=1e-4)
    assert [group["size"] for group in results["groups"]] == pytest.approx(sizes, abs=2)


def test_two_latents_are_their_own_map(saved_run, monkeypatch):
    saved, drawn = open_saved(saved_run("digits.py:variant=autoencoder,runlocal"), None), []
    monkeypatch.setattr("vae_jax.tasks.grouping.save_latent_map", lambda *arguments: drawn.append(arguments))
    group(saved, "test", 3, print)
    (_, codes, labels, names) = drawn[0]
    np.testing.assert_allclose(codes, saved.trained.encode(saved.dataset.pictures("test", 100)[0]), atol=1e-5)
    np.testing.assert_array_equal(labels, saved.dataset.pictures("test", 100)[1])
    assert names == ("z[0]", "z[1]")


def test_the_number_of_groups_is_that_of_the_classes_if_it_can_be():
    assert check_clusters(None, 10, 100) == 10
    assert check_clusters(3, 10, 100) == 3
    for clusters, classes in (None, 0), (None, 1), (101, 10), (None, 101):
        with pytest.raises(ConfigError, match="--clusters"):
            check_clusters(clusters, classes, 100)


def test_the_script_writes_figures_and_pictures(folder):
    out = output_of("group", f"--workdir={folder}")
    for word in ("latent_gaussian_mixture", "accuracy", "nmi", "ari", "pca linear"):
        assert word in out
    results = json.loads((folder / "grouping-test.json").read_text())
    assert (results["num_examples"], results["num_clusters"]) == (250, 10)
    for name in "groups_test.png", "groups_map_test.png":
        assert (folder / "pictures" / name).stat().st_size > 1000


@pytest.mark.parametrize(
    "flags, message",
    [
        ("--workdir={run} --clusters=1", "--clusters=1 is not allowed: expected 2 or more"),
        ("--workdir={run} --clusters=251", "251 groups are more than the 250 pictures"),
        ("--workdir={run} --split=validation", "invalid choice: 'validation'"),
        ("--workdir=nowhere", "is no run folder"),
    ],
)
def test_bad_input_is_one_line(folder, flags, message):
    assert message in script_refusal(2, "group", *flags.format(run=folder).split())
