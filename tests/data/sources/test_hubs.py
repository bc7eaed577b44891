"""Sets of tensorflow-datasets and of Hugging Face are read where they are prepared, and else say what to type."""

import importlib.util
import io
import json
import os
import shutil
import socket

import numpy as np
import pytest
from PIL import Image

from tests.refusals import flipped, refusal
from vae_jax.data.cache import Place
from vae_jax.data.dataset import checked
from vae_jax.data.sources import hubs

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (80, 10, 8, 3), np.uint8)  # 60 of train, 20 of test


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS folder: faces (encoded, a label), shapes (two factors), arrays (tensors), words (no pictures)."""
    import tensorflow_datasets as tfds

    folder, kinds = tmp_path_factory.mktemp("tfds"), tfds.features

    def write(name, features, row):
        class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("2.10.0")

            def _info(self):
                features_of = kinds.FeaturesDict(features)
                return tfds.core.DatasetInfo(builder=self, features=features_of, disable_shuffling=True)

            def _split_generators(self, dl_manager):
                del dl_manager
                return {"train": self._generate_examples(range(60)), "test": self._generate_examples(range(60, 80))}

            def _generate_examples(self, numbers):
                for i in numbers:
                    yield i, row(i)

        Made.name = name
        Made(data_dir=folder, file_format="array_record").download_and_prepare()

    tfds.disable_progress_bar()
    image, two = kinds.Image(shape=(None, None, 3)), kinds.ClassLabel(names=["no", "yes"])
    write("faces", {"image": image, "label": two}, lambda i: {"image": png(PICTURES[i]), "label": i % 2})
    four, three = (kinds.ClassLabel(num_classes=count) for count in (4, 3))
    features = {"image": image, "label_hue": four, "label_shape": three}
    write("shapes", features, lambda i: {"image": png(PICTURES[i]), "label_hue": i % 4, "label_shape": i % 3})
    tensor = kinds.Tensor(shape=(10, 8, 1), dtype=np.uint8)
    write("arrays", {"image": tensor}, lambda i: {"image": PICTURES[i, :, :, :1]})
    write("words", {"text": np.int64}, lambda i: {"text": i})
    # A lower number, though not to the eye of a sort.
    shutil.copytree(folder / "words" / "2.10.0", folder / "faces" / "2.9.0")
    info = shutil.copytree(folder / "faces" / "2.10.0", folder / "records" / "1.0.0") / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    return folder


@pytest.fixture
def tfds_place(prepared, place):
    return Place(prepared, place.cache_dir, place.say)


def assert_pictures(dataset, channels=3):
    assert dataset.sizes == {"train": 54, "validation": 6, "test": 20}
    np.testing.assert_array_equal(dataset.splits["test"].images[:], PICTURES[60:, ..., :channels])
    both = np.concatenate([dataset.splits[name].images[:] for name in ("train", "validation")])
    assert sorted(x.tobytes() for x in both) == sorted(x.tobytes() for x in PICTURES[:60, ..., :channels])


def test_encoded_pictures_and_their_label_are_read_from_the_newest_version(tfds_place):
    for _ in range(2):
        dataset = checked(hubs.tfds(tfds_place, dataset="faces"))
        assert_pictures(dataset)
        assert dataset.num_classes == 2
        np.testing.assert_array_equal(dataset.splits["test"].labels, np.arange(60, 80) % 2)
        assert dataset.origin == "tensorflow-datasets faces 2.10.0"
    assert len(tfds_place.say.__self__) == 1


def test_a_set_that_is_prepared_anew_is_decoded_anew(prepared, tfds_place, tmp_path):
    """dataset_info.json may be the same to the byte: it has sizes, and no content."""
    shutil.copytree(prepared / "faces", tmp_path / "mine" / "faces")
    mine = Place(tmp_path / "mine", tfds_place.cache_dir, tfds_place.say)
    for said, place in (1, tfds_place), (2, mine), (2, mine):
        hubs.tfds(place, dataset="faces")
        assert len(tfds_place.say.__self__) == said
    for file in (tmp_path / "mine" / "faces").rglob("*train*"):
        os.utime(file, (1, 1))
    hubs.tfds(mine, dataset="faces")
    assert len(tfds_place.say.__self__) == 3


def test_several_classes_are_factors(tfds_place):
    dataset = checked(hubs.tfds(tfds_place, dataset="shapes"))
    assert_pictures(dataset)
    assert dataset.factors == {"label_hue": 4, "label_shape": 3} and dataset.num_classes == 0
    where = np.arange(60, 80)
    np.testing.assert_array_equal(dataset.splits["test"].factors, np.stack([where % 4, where % 3], 1))


def test_tensors_are_pictures_too_and_can_be_resized(tfds_place):
    assert_pictures(checked(hubs.tfds(tfds_place, dataset="arrays")), channels=1)
    assert hubs.tfds(tfds_place, dataset="arrays", size=(4,), channels=3).shape == (4, 4, 3)


@pytest.mark.parametrize(
    "name, message",
    [("words", "holds no pictures, only: text"), ("records", "is prepared as TFRecord, which only TensorFlow reads")],
)
def test_what_cannot_be_read_is_refused(tfds_place, name, message):
    assert message in refusal(hubs.tfds, tfds_place, dataset=name)


def test_a_set_that_is_not_prepared_says_how(tfds_place, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find_spec(name))
    text = refusal(hubs.tfds, tfds_place, dataset="celeb_a")
    assert "pip install 'vae_jax[tfds]'" in text
    assert "python scripts/data.py prepare tfds --config.data.dataset=celeb_a" in text


@pytest.mark.parametrize("name, message", [("celeb_a", "there is no network"), ("celebb", "knows no 'celebb'")])
def test_with_tensorflow_the_network_and_the_name_are_checked(place, monkeypatch, name, message):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorflow" or find_spec(name))
    monkeypatch.setattr(hubs, "reachable", lambda _: False)
    assert message in refusal(hubs.tfds, place, dataset=name)


@pytest.fixture
def saved(tmp_path):
    """A Hugging Face set on disk."""
    datasets = pytest.importorskip("datasets", reason="needs the extra [huggingface]")
    features = datasets.Features({"text": datasets.Value("string"), "picture": datasets.Image()})
    features["kind"] = datasets.ClassLabel(names=["a", "b", "c"])

    def part(numbers):
        rows = {"picture": [Image.fromarray(PICTURES[i]) for i in numbers], "kind": [i % 3 for i in numbers]}
        return datasets.Dataset.from_dict(rows | {"text": ["t"] * len(numbers)}, features=features)

    datasets.DatasetDict({"train": part(range(60)), "test": part(range(60, 80))}).save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": part(range(60)).remove_columns("picture")}).save_to_disk(tmp_path / "words")
    datasets.DatasetDict({"extra": part(range(60))}).save_to_disk(tmp_path / "extra")
    return tmp_path


def test_a_hugging_face_set_is_read_with_its_label(place, saved):
    for _ in range(2):
        dataset = checked(hubs.huggingface(place, dataset=str(saved / "saved")))
        assert_pictures(dataset)
        np.testing.assert_array_equal(dataset.splits["test"].labels, np.arange(60, 80) % 3)
    assert len(place.said) == 1
    assert hubs.huggingface(place, dataset=str(saved / "saved"), size=(5,), channels=1).shape == (5, 5, 1)


def test_a_hugging_face_set_that_does_not_serve_is_refused(place, saved, monkeypatch):
    assert "has no column of images, only: kind, text" in refusal(hubs.huggingface, place, dataset=str(saved / "words"))
    assert "has no split 'train', only: extra" in refusal(hubs.huggingface, place, dataset=str(saved / "extra"))
    monkeypatch.setattr(socket, "create_connection", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    assert "'nobody/nothing' cannot be loaded" in refusal(hubs.huggingface, place, dataset="nobody/nothing")


def test_a_validation_split_by_another_name_is_kept(place, saved):
    import datasets

    parts = datasets.load_from_disk(str(saved / "saved"))
    datasets.DatasetDict({"train": parts["train"], "val": parts["test"]}).save_to_disk(saved / "val")
    dataset = checked(hubs.huggingface(place, dataset=str(saved / "val")))
    np.testing.assert_array_equal(dataset.splits["validation"].images[:], PICTURES[60:])


@pytest.mark.parametrize("label", [None, -1])
def test_examples_without_a_label_or_a_picture_are_refused(place, saved, label):
    import datasets

    parts = datasets.load_from_disk(str(saved / "saved"))
    kinds = [label, *parts["test"]["kind"][1:]]
    test = parts["test"].remove_columns("kind").add_column("kind", kinds).cast(parts["test"].features)
    datasets.DatasetDict({"train": parts["train"], "test": test}).save_to_disk(saved / "unlabelled")
    said = refusal(hubs.huggingface, place, dataset=str(saved / "unlabelled"))
    assert f"test, kind: example 0 has the label {label}, and there are classes 0..2" in said
    pictures = [None, *parts["train"]["picture"][1:]]
    features = datasets.Features({"picture": datasets.Image()})
    table = datasets.Dataset.from_dict({"picture": pictures}, features=features)
    datasets.DatasetDict({"train": table}).save_to_disk(saved / "empty")
    assert "train row 0 has no picture" in refusal(hubs.huggingface, place, dataset=str(saved / "empty"))


def test_what_tensorflow_datasets_cannot_prepare_is_told(place, monkeypatch):
    import tensorflow_datasets

    class Builder:
        def download_and_prepare(self):
            raise AssertionError("manual download needed:\nput it there")

    given = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(hubs, "reachable", lambda _: True)
    monkeypatch.setattr(tensorflow_datasets, "builder", lambda *_, data_dir, **__: given.append(data_dir) or Builder())
    said = refusal(hubs.tfds, place, dataset="emnist/letters")
    assert said == "tensorflow-datasets cannot prepare 'emnist/letters': manual download needed: put it there"
    assert given == [place.data_dir]  # where it is looked for, emnist/letters below it


def test_without_the_library_the_extra_is_named(place, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "pip install 'vae_jax[huggingface]'" in refusal(hubs.huggingface, place, dataset="ylecun/mnist")


@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped"])
def test_a_damaged_file_of_records_is_refused(place, prepared, tmp_path, damage):
    shutil.copytree(prepared / "faces" / "2.10.0", tmp_path / "data" / "faces" / "2.10.0")
    (path,) = (tmp_path / "data" / "faces" / "2.10.0").glob("*-train.array_record*")
    content, middle = path.read_bytes(), path.stat().st_size // 2
    damaged = {"truncated": content[:middle], "emptied": b"", "flipped": flipped(content, middle)}
    path.write_bytes(damaged[damage])
    message = refusal(hubs.tfds, place, dataset="faces")
    assert "train is damaged" in message and "prepare it again" in message
