"""Similarity search on a saved run: the index that is kept, the neighbours, the figures, the script."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from tests.refusals import flipped, script_refusal
from tests.script import output_of, run_script
from vae_jax.data.sources.embedded import digits
from vae_jax.errors import ConfigError, DataError, StorageError
from vae_jax.evaluation.baselines import fit_pca
from vae_jax.tasks.gallery import folder_pictures, open_index, training_pictures
from vae_jax.tasks.representations import represent
from vae_jax.tasks.retrieval import describe, evaluate, save_neighbours
from vae_jax.tasks.saved import open_saved

SPEC = "digits.py:variant=autoencoder,runlocal"


@pytest.fixture(scope="module")
def saved(saved_run, tmp_path_factory):
    """A run of its own, into which indices may be written."""
    folder = shutil.copytree(saved_run(SPEC, model__latent=6), tmp_path_factory.mktemp("search") / "run")
    return open_saved(folder, None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Training digits as files: 0.png ... 19.png, in two folders, and what is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for kind in "a", "b/.hidden":
        (folder / kind).mkdir(parents=True)
    for i, image in enumerate(digits(None).splits["train"].images[:20]):
        where = folder / ("a" if i < 10 else "b") / f"{i}.png"
        Image.fromarray((image[..., 0] * (255 / 16)).round().astype(np.uint8)).save(where)
    (folder / "a" / "notes.txt").write_text("no picture")
    (folder / "b" / ".hidden" / "0.png").write_text("not looked at")
    return folder


def test_a_second_search_encodes_nothing_and_answers_the_same(saved, monkeypatch):
    shutil.rmtree(saved.folder / "index", ignore_errors=True)  # of other tests
    said, gallery = [], training_pictures(saved)
    first = open_index(saved.folder, saved.trained, gallery, said.append)
    assert len(said) == 1 and "index of 1297 pictures written" in said[0]
    monkeypatch.setattr("vae_jax.tasks.gallery.encode", lambda *_: pytest.fail("encoded again"))
    second = open_index(saved.folder, saved.trained, gallery, said.append)
    assert len(said) == 1
    queries = saved.trained.encode(saved.dataset.pictures("test", 50)[0])
    for before, after in zip(first, second, strict=True):
        for a, b in zip(before.search(queries, 7), after.search(queries, 7), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_training_picture_finds_itself(saved):
    gallery = training_pictures(saved)
    exact, approximate = open_index(saved.folder, saved.trained, gallery, print)
    codes = saved.trained.encode(gallery.read(np.array([3, 700])))
    for index in exact, approximate:
        found = describe(index.search(codes, 2), gallery)
        labels = saved.dataset.splits["train"].labels
        for i, (nearest, _) in zip((3, 700), found, strict=True):
            assert nearest["distance"] == pytest.approx(0, abs=1e-5)
            assert (nearest["split"], nearest["index"], nearest["label"]) == ("train", i, labels[i])


@pytest.mark.parametrize("harm", ["cut off", "flipped byte", "no archive", "empty"])
def test_a_damaged_index_is_made_anew(saved, harm):
    gallery, said = training_pictures(saved), []
    expected = open_index(saved.folder, saved.trained, gallery, said.append)
    path = saved.folder / "index" / "train.npz"
    content, bit = path.read_bytes(), flipped(path.read_bytes(), path.stat().st_size // 2)
    path.write_bytes({"cut off": content[:-200], "flipped byte": bit, "no archive": b"index", "empty": b""}[harm])
    said.clear()
    again = open_index(saved.folder, saved.trained, gallery, said.append)
    assert "is damaged" in said[0] and "made anew" in said[0] and "\n" not in said[0]
    np.testing.assert_array_equal(again[0].vectors, expected[0].vectors)
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []


def test_an_index_of_another_model_or_other_pictures_is_made_anew(saved, pictures, tmp_path):
    folder, said, trained = shutil.copytree(pictures, tmp_path / "pictures"), [], saved.trained
    open_index(saved.folder, trained, folder_pictures(folder, trained, False), said.append)
    changed = saved.trained._replace(params=_times(saved.trained.params, 0.9))
    open_index(saved.folder, changed, folder_pictures(folder, trained, False), said.append)
    shutil.copy(folder / "a" / "0.png", folder / "a" / "1.png")
    open_index(saved.folder, changed, folder_pictures(folder, trained, False), said.append)
    open_index(saved.folder, changed, folder_pictures(folder, trained, True), said.append)
    stale = ["another model or from other pictures" in line for line in said]
    assert stale == [False, True, False, True, False, True, False], "each time it is said, and then written"


def test_an_index_that_cannot_be_written_is_one_clear_error(saved, tmp_path):
    (tmp_path / "index").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"writing .*/index failed"):
        open_index(tmp_path, saved.trained, training_pictures(saved), print)


def test_a_folder_is_searched_by_the_same_codes_as_the_split(saved, pictures):
    gallery = folder_pictures(pictures, saved.trained, invert=False)
    assert gallery.count == 20
    index, _ = open_index(saved.folder, saved.trained, gallery, print)
    train = saved.trained.encode(saved.dataset.pictures("train", 10**9)[0][:20])
    found = describe(index.search(train, 1), gallery)
    for i, (nearest,) in enumerate(found):
        assert nearest["path"] == str(pictures / ("a" if i < 10 else "b") / f"{i}.png")
        assert nearest["distance"] < 0.05, "eight bits of a picture of 17 levels"


def test_pictures_of_neighbours_have_a_row_per_query(saved, tmp_path):
    gallery = training_pictures(saved)
    images = gallery.read(np.arange(3))
    found = open_index(saved.folder, saved.trained, gallery, print)[0].search(saved.trained.encode(images), 4)
    save_neighbours(tmp_path / "out.png", images, ["one", "two", "three"], found, gallery)
    with Image.open(tmp_path / "out.png") as sheet:
        width, height = sheet.width // 5, sheet.height // 3
        pixels = np.asarray(sheet.convert("L"))
    first, nearest = pixels[4 : 4 + 64, 4 : 4 + 64], pixels[4 : 4 + 64, width + 4 : width + 68]
    assert height > 64
    np.testing.assert_array_equal(first, nearest)


def test_figures_do_not_change_with_the_batch_and_shuffled_labels_bring_chance(saved, monkeypatch):
    before = evaluate(saved, print)
    assert before["num_gallery"] == 1297 and before["num_queries"] == 250
    assert before["pca"]["size"] == before["latent"]["size"] == 6 and before["pixels"]["size"] == 64
    assert before["pixels"]["precision_at_1_among_train"] > 0.9 > before["latent"]["precision_at_50_within_test"]
    assert (saved.folder / "pictures" / "search.png").exists()
    monkeypatch.setattr("vae_jax.trained.batch_for", lambda count, _: min(count, 7))
    (saved.folder / "index" / "train.npz").unlink()
    after = evaluate(saved, print)
    for name in "latent", "pixels", "pca":
        assert after[name] == pytest.approx(before[name], abs=2e-3)
    test = saved.dataset.splits["test"]
    shuffled = test._replace(labels=np.random.default_rng(0).permutation(test.labels))
    blind = saved._replace(dataset=saved.dataset._replace(splits={**saved.dataset.splits, "test": shuffled}))
    assert evaluate(blind, print)["latent"]["precision_at_10_among_train"] == pytest.approx(0.1, abs=0.1)


def test_test_pictures_fit_nothing(saved):
    """Black ones, whose mean is not that of the training pictures."""
    test = saved.dataset.splits["test"]
    splits = saved.dataset.splits | {"test": test._replace(images=np.zeros_like(test.images))}
    other = saved._replace(dataset=saved.dataset._replace(splits=splits))
    a, b = (represent(s, ("train", "test")) for s in (saved, other))
    for name, vectors in a["train"].vectors.items():
        np.testing.assert_array_equal(vectors, b["train"].vectors[name])
    pca = fit_pca(saved.dataset.pictures("train", 10**9)[0], 6)
    np.testing.assert_allclose(b["test"].vectors["pca"][0], -pca.mean @ pca.components.T, atol=1e-4)


def test_what_cannot_be_searched_is_refused(saved, tmp_path):
    config = saved.trained.config
    conditional = saved.trained._replace(config={**config, "model": {**config["model"], "condition": True}})
    with pytest.raises(ConfigError, match=r"model\.condition=True"):
        open_index(tmp_path, conditional, training_pictures(saved), print)
    unlabelled = {name: split._replace(labels=None) for name, split in saved.dataset.splits.items()}
    with pytest.raises(ConfigError, match="have no two"):
        evaluate(saved._replace(dataset=saved.dataset._replace(splits=unlabelled, num_classes=0)), print)
    with pytest.raises(DataError, match="is not a folder"):
        folder_pictures(tmp_path / "none", saved.trained, False)
    with pytest.raises(DataError, match="holds no pictures"):
        folder_pictures(tmp_path, saved.trained, False)
    broken = saved.trained._replace(params=_times(saved.trained.params, np.nan))
    with pytest.raises(DataError, match="codes of 1297 of 1297 pictures are not finite"):
        open_index(tmp_path, broken, training_pictures(saved), print)


def _times(params, factor):
    return jax.tree.map(lambda leaf: factor * leaf, params)


def test_the_script_finds_neighbours_and_measures(saved, pictures, tmp_path):
    queries, out = (pictures / "a" / "0.png", pictures / "b" / "15.png"), tmp_path / "found.png"
    output_of("search", f"--workdir={saved.folder}", "--query", *queries, "--num=3", f"--out={out}")
    found = json.loads(out.with_suffix(".json").read_text())
    assert [query["path"] for query in found["queries"]] == list(map(str, queries))
    assert [query["neighbours"][0]["index"] for query in found["queries"]] == [0, 15]
    assert [len(query["neighbours"]) for query in found["queries"]] == [3, 3] and out.exists()
    flags = "--gallery", pictures, "--approximate", f"--out={out}"
    done = run_script("search.py", f"--workdir={saved.folder}", "--query", queries[0], *flags)
    assert done.returncode == 0 and "a/0.png" in done.stdout, done.stderr
    done = run_script("search.py", f"--workdir={saved.folder}", "--evaluate")
    assert done.returncode == 0 and "latent [6]" in done.stdout, done.stderr
    assert json.loads((saved.folder / "search.json").read_text())["approximate"]["recall"] > 0.8


@pytest.mark.parametrize(
    "flags, code, message",
    [
        ("--workdir={run}", 2, "one of the arguments --query --evaluate is required"),
        ("--workdir={run} --query x.png --evaluate", 2, "not allowed with argument"),
        ("--workdir={run} --query x.png --exact --approximate", 2, "not allowed with argument"),
        ("--workdir={run} --evaluate --num=3", 2, "--num goes with --query"),
        ("--workdir={run} --query {pic} --num=0", 2, "--num=0 is not allowed: expected 1 or more"),
        ("--workdir={run} --query {pic} --out=x.jpg", 2, "must end in .png"),
        ("--workdir={run} --query {pic} --out=/nowhere/x.png", 73, "cannot be written"),
        ("--workdir={run} --query nothing.png", 65, "no picture nothing.png"),
        ("--workdir=nowhere --query {pic}", 2, "is no run folder"),
        ("--workdir={run} --query {pic} --gallery=nowhere", 65, "--gallery=nowhere is not a folder"),
        ("--workdir={run} --query {pic} --num=1298 --out={tmp}/x.png", 2, "more than the 1297 pictures"),
    ],
)
def test_bad_input_is_one_line(saved, pictures, tmp_path, flags, code, message):
    names = {"run": saved.folder, "pic": pictures / "a" / "0.png", "tmp": tmp_path}
    assert message in script_refusal(code, "search", *flags.format(**names).split())
    assert list(tmp_path.iterdir()) == []
