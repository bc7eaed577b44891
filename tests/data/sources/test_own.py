"""Your own pictures: folders and arrays become disjoint splits, or one line that names the file and the rule."""

import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.refusals import files, flipped_anywhere, refusal
from vae_jax.data.cache import Place
from vae_jax.data.dataset import SPLITS, checked, sha256
from vae_jax.data.sources import own
from vae_jax.errors import DataError

RNG = np.random.default_rng(0)


@pytest.fixture
def draw(place):
    """Write pictures; every one is different, and its first pixel is its number."""
    count = iter(range(256))

    def draw(*names, size=(6, 5), mode="L"):
        for name in names:
            path = place.data_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = RNG.integers(0, 256, (*size, 3) if mode == "RGB" else size, np.uint8)
            pixels[0, 0] = next(count)
            Image.fromarray(pixels).save(path)

    return draw


def numbers(split):
    return sorted(split.images[:][:, 0, 0, 0].tolist())


def names(folder, count):
    return [f"{folder}{i:03}.png" for i in range(count)]


def test_a_flat_folder_is_split_without_labels(place, draw):
    draw(*names("", 40))
    dataset = checked(own.folder(place))
    assert dataset.sizes == {"train": 32, "validation": 4, "test": 4}
    assert (dataset.shape, dataset.levels, dataset.num_classes) == ((6, 5, 1), 255, 0)
    assert sorted(n for split in dataset.splits.values() for n in numbers(split)) == list(range(40))
    first = np.asarray(Image.open(place.data_dir / "000.png"))
    found = [image for split in dataset.splits.values() for image in split.images[:] if image[0, 0, 0] == 0]
    np.testing.assert_array_equal(found[0][..., 0], first)


@pytest.mark.parametrize(
    ("link", "target", "said"),
    [
        ("cat/again", "..", "{0}/cat/again and {0} are the same folder; remove the link"),
        ("pussy", "cat", "{0}/pussy and {0}/cat are the same folder"),
        ("dog/x.png", "../cat/000.png", "{0}/dog/x.png and {0}/cat/000.png are the same picture"),
    ],
)
def test_no_link_brings_a_picture_into_two_splits(place, draw, link, target, said):
    draw(*names("cat/", 5), *names("dog/", 5))
    (place.data_dir / link).symlink_to(target)
    assert said.format(place.data_dir) in refusal(own.folder, place)


def test_links_to_pictures_elsewhere_are_followed_and_broken_ones_told(place, draw, tmp_path_factory):
    draw(*names("cat/", 5), *names("dog/", 5))
    away = tmp_path_factory.mktemp("away") / "dog"
    (place.data_dir / "dog").rename(away)
    (place.data_dir / "dog").symlink_to(away)
    assert sum(own.folder(place, validation=0.2, test=0.2).sizes.values()) == 10
    (place.data_dir / "cat" / "gone.png").symlink_to("nowhere")
    assert "cat/gone.png" in refusal(own.folder, place)
    skipping = own.folder(place, on_error="skip", validation=0.2, test=0.2)
    assert sum(skipping.sizes.values()) == 10 and "gone.png" in str(skipping.skipped)


def test_a_folder_that_cannot_be_read_is_not_left_out(place, draw, monkeypatch):
    draw(*names("cat/", 5), *names("dog/", 5))
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "dog cannot be read: Permission denied" in refusal(own.folder, place)


def test_test_pictures_beside_no_folder_train_are_no_class(place, draw):
    draw(*names("train_images/", 10), *names("test/", 6))
    assert "/test is beside no folder 'train'; name that of the training pictures so" in refusal(own.folder, place)


def test_class_folders_become_labels_and_every_split_has_every_class(place, draw):
    draw(*names("dog/", 30), *names("cat/deep/", 10), *names("zebra/", 3), mode="RGB")
    dataset = checked(own.folder(place, validation=0.2, test=0.1))
    assert dataset.sizes == {"train": 21 + 7 + 1, "validation": 6 + 2 + 1, "test": 3 + 1 + 1}
    assert dataset.num_classes == 3 and dataset.shape == (6, 5, 3)
    for split in dataset.splits.values():
        by_number = dict(zip(split.images[:][:, 0, 0, 0], split.labels, strict=True))
        assert all(label == (1 if n < 30 else 0 if n < 40 else 2) for n, label in by_number.items())
        assert set(by_number.values()) == {0, 1, 2}


def test_folders_of_splits_are_kept_and_missing_ones_are_cut_from_train(place, draw):
    draw(*names("train/a/", 20), *names("train/b/", 20), *names("test/a/", 5))
    dataset = checked(own.folder(place))
    assert dataset.sizes == {"train": 36, "validation": 4, "test": 5}
    assert numbers(dataset.splits["test"]) == list(range(40, 45))
    draw(*names("val/b/", 3))
    dataset = checked(own.folder(place))
    assert dataset.sizes == {"train": 40, "validation": 3, "test": 5}
    assert numbers(dataset.splits["validation"]) == [45, 46, 47]
    assert dataset.splits["validation"].labels.tolist() == [1] * 3


def test_the_split_does_not_depend_on_where_the_folder_is(place, draw, tmp_path):
    draw(*names("a/", 20))
    first = sha256(own.folder(place))
    moved = Place(place.data_dir.rename(tmp_path / "elsewhere"), place.cache_dir, print)
    assert sha256(own.folder(moved)) == first


def test_pictures_are_decoded_once_until_a_file_changes(place, draw):
    draw(*names("", 20))
    first = sha256(own.folder(place))
    assert sha256(own.folder(place)) == first and len(place.said) == 1
    draw("010.png")
    assert sha256(own.folder(place)) != first and len(place.said) == 2
    assert own.folder(place, fit="pad", size=(6, 5)).shape == (6, 5, 1) and len(place.said) == 3


def test_hidden_and_other_files_are_no_pictures(place, draw):
    draw(*names("", 20), ".hidden.png", ".git/x.png")
    (place.data_dir / "notes.txt").write_text("my pictures")
    assert sum(own.folder(place).sizes.values()) == 20


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "tiff", "webp", "pgm", "PNG", "jp2"])
def test_all_common_formats_are_read(place, draw, suffix):
    draw(*[name.replace("png", suffix) for name in names("", 4)])
    assert sum(own.folder(place).sizes.values()) == 4


def test_an_empty_folder_is_refused(place):
    assert refusal(own.folder, place).startswith(f"{place.data_dir} holds no pictures (.bmp, .gif")
    assert "give --data_dir=FOLDER" in refusal(own.folder, Place(None, place.cache_dir, print))


def spoil(place, draw, kind):
    """Spoil picture 7 of 20 and return it."""
    draw(*names("", 20))
    path = place.data_dir / "007.png"
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "truncated":
        draw(path.name, size=(64, 64))
        path.write_bytes(path.read_bytes()[:-400])
    elif kind == "odd size":
        draw(path.name, size=(7, 5))
    else:
        draw(path.name, mode="RGB")
    return path


SPOILT = {
    "text": "cannot be read as a picture",
    "truncated": "cannot be read as a picture",
    "odd size": "000.png is 6 high and 5 wide; set data.size",
    "colour": "000.png is gray; set data.channels to 1 or 3",
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_does_not_fit_is_refused_by_name_and_leaves_nothing(place, draw, kind):
    path = spoil(place, draw, kind)
    text = refusal(own.folder, place)
    assert text.startswith(f"{path} ") and SPOILT[kind] in text
    assert not files(place.cache_dir)


@pytest.mark.parametrize("kind", SPOILT)
def test_what_does_not_fit_can_be_skipped_and_is_listed(place, draw, kind):
    path = spoil(place, draw, kind)
    for _ in range(2):  # decoded, and from the cache
        dataset = own.folder(place, on_error="skip")
        assert sum(dataset.sizes.values()) == 19
        assert len(dataset.skipped) == 1 and dataset.skipped[0].startswith(f"{path}: {path} ")
        assert SPOILT[kind] in dataset.skipped[0]


def test_an_unreadable_picture_is_refused_though_size_and_channels_are_given(place, draw):
    path = spoil(place, draw, "text")
    assert refusal(own.folder, place, size=(8,), channels=1).startswith(f"{path} cannot be read")
    assert not files(place.cache_dir)


def test_when_all_are_spoilt_nothing_is_left_to_skip(place):
    (place.data_dir / "x.png").write_text("no")
    text = refusal(own.folder, place, on_error="skip")
    assert text.startswith("none of the pictures can be read; the first:") and "x.png" in text


def test_a_class_that_cannot_be_split_is_refused(place, draw):
    draw(*names("many/", 20), "one/x.png")
    assert "'one' has 1 of the pictures, too few for train and validation and test" in refusal(own.folder, place)
    draw("train/a.png", "train/b.png", "train/c.png")
    assert "lies beside the folder of the training pictures" in refusal(own.folder, place)


def test_a_class_that_is_not_trained_on_is_refused(place, draw):
    draw(*names("train/a/", 20), *names("train/b/", 20), "test/c/x.png", "validation/a/x.png")
    assert refusal(own.folder, place) == "class 'c' is in test, but train has no picture of it"


def test_pictures_beside_the_class_folders_are_refused(place, draw):
    draw(*names("a/", 20), *names("b/", 20), "stray.png")
    assert "stray.png lies beside the folders of the classes" in refusal(own.folder, place)


@pytest.mark.parametrize("channels", [1, 3])
def test_mixed_pictures_are_brought_to_one_shape(place, draw, channels):
    draw(*names("a", 10), mode="RGB", size=(20, 30))
    draw(*names("b", 10), size=(9, 4))
    dataset = checked(own.folder(place, size=(8, 12), channels=channels))
    assert dataset.shape == (8, 12, channels)


@pytest.fixture
def npz_folder(place):
    """Three .npz files; called with arrays it replaces those of one split."""

    def write(split=None, **arrays):
        rng = np.random.default_rng(1)
        for name in SPLITS:
            usual = {"images": rng.random((20, 4, 5), np.float32), "labels": np.arange(20) % 3}
            changed = arrays if split in (name, "all") else {}
            np.savez(place.data_dir / f"{name}.npz", **{k: v for k, v in (usual | changed).items() if v is not None})
        return place

    return write


def test_npz_holds_your_own_pictures(npz_folder):
    dataset = checked(own.npz(npz_folder()))
    first = np.random.default_rng(1).random((20, 4, 5), np.float32)
    np.testing.assert_array_equal(dataset.splits["train"].images[..., 0], first)
    assert (dataset.shape, dataset.levels, dataset.num_classes) == ((4, 5, 1), 1, 3)
    assert dataset.splits["test"].labels.tolist() == [i % 3 for i in range(20)]


@pytest.mark.parametrize("gone", [("test",), ("validation", "test")])
def test_missing_splits_are_cut_from_train(npz_folder, gone):
    images = RNG.random((40, 4, 5), np.float32)
    place = npz_folder("all", images=images, labels=(images[:, 0, 0] > np.median(images[:, 0, 0])).astype(int))
    whole = own.npz(place).splits["train"].images
    for name in gone:
        (place.data_dir / f"{name}.npz").unlink()
    dataset = checked(own.npz(place, test=0.25))
    assert dataset.sizes["test"] == 10 and dataset.sizes["train"] == 40 - 10 - 4 * (len(gone) - 1)
    for name in "train", *gone:
        bright = dataset.splits[name].images[:, 0, 0, 0] > np.median(images[:, 0, 0])
        np.testing.assert_array_equal(dataset.splits[name].labels, bright, err_msg=name)
    parts = [dataset.splits[name].images for name in ("train", *gone)]
    assert sorted(x.tobytes() for x in np.concatenate(parts)) == sorted(x.tobytes() for x in whole)
    assert " and ".join(("validation", "test")[-len(gone) :]) + " cut from train" in dataset.origin


@pytest.mark.parametrize("labelled", [True, False])
def test_npy_files_stay_on_disk(place, labelled):
    images = RNG.integers(0, 256, (20, 4, 5, 3), np.uint8)
    images = images if labelled else images.astype(np.float32) / 255
    for name in "train", "val" if labelled else "validation", "test":
        np.save(place.data_dir / f"{name}.npy", images)
        if labelled:
            np.save(place.data_dir / f"{name}_labels.npy", np.arange(20) % 4)
    dataset = checked(own.npz(place))
    assert isinstance(dataset.splits["train"].images, np.memmap)
    np.testing.assert_array_equal(dataset.splits["test"].images, images)
    assert dataset.num_classes == (4 if labelled else 0)
    for part in (
        dataset.splits["train"].images,
        dataset.splits["train"].images[3:7],
        np.load(place.data_dir / "train.npy", mmap_mode="r").view(own.Mapped)[..., None],
    ):
        copy = pickle.dumps(part)
        assert len(copy) < 500  # a path, not the data
        np.testing.assert_array_equal(pickle.loads(copy), part)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset.splits["train"].images[::2])), images[::2])
    (place.data_dir / "test.npy").write_bytes(b"no array")
    assert f"{place.data_dir}/test.npy cannot be read as .npy" in refusal(own.npz, place)


def test_labels_that_are_more_than_the_images_are_refused(place):
    np.savez(place.data_dir / "train.npz", images=np.zeros((20, 4, 4), np.uint8), labels=np.zeros(21, int))
    assert refusal(own.npz, place) == f"{place.data_dir}/train.npz: 21 labels for 20 images"


@pytest.mark.parametrize(
    "images, levels",
    [
        (RNG.integers(0, 256, (20, 4, 5, 3), np.uint8), 255),
        (RNG.integers(0, 2, (20, 4, 5), np.uint8), 1),
        (RNG.random((20, 4, 5)), 1),
        (RNG.random((20, 4, 5)).astype(np.float16), 1),
    ],
    ids=["bytes", "binary", "float64", "float16"],
)
def test_npz_takes_bytes_and_floats(npz_folder, images, levels):
    dataset = checked(own.npz(npz_folder("all", images=images)))
    stored = dataset.splits["validation"].images
    assert stored.dtype == (np.uint8 if images.dtype == np.uint8 else np.float32)
    np.testing.assert_allclose(stored.reshape(images.shape) / levels, images / levels, rtol=1e-6)
    assert dataset.levels == levels


def test_npz_without_labels_in_one_file_has_none(npz_folder):
    dataset = checked(own.npz(npz_folder("test", labels=None)))
    assert dataset.num_classes == 0 and all(split.labels is None for split in dataset.splits.values())


def spoilt(value, position=(7, 1, 2)):
    images = np.full((20, 4, 5), 0.5)
    images[position] = value
    return images


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": spoilt(np.nan)}, "npz, test images: 1 values are NaN or infinite, the first in image 7"),
        ({"images": spoilt(1e300)}, "npz, test images: 1 values are NaN or infinite, the first in image 7"),
        ({"images": spoilt(255.0)}, "npz, test images: float values in 0.5..255, expected [0, 1]; scale them"),
        ({"images": spoilt(-0.01)}, "npz, test images: float values in -0.01..0.5, expected [0, 1]"),
        ({"images": np.zeros((20, 4, 5), np.uint8)}, "npz, test images: uint8 of shape (4, 5, 1), but the training"),
        ({"images": np.zeros((20, 5, 4), np.float32)}, "npz, test images: float32 of shape (5, 4, 1), but the train"),
        ({"images": np.zeros((20, 20), np.float32)}, "npz, test images: shape (20, 20), expected [N,H,W,C]"),
        ({"images": np.zeros((0, 4, 5), np.float32), "labels": np.zeros(0, int)}, "shape (0, 4, 5, 1), expected"),
        ({"images": np.array([None] * 20)}, "test.npz cannot be read as .npz: Object arrays cannot be loaded"),
        ({"images": None}, "test.npz holds no array 'images', only: labels"),
        ({"labels": np.zeros(19, int)}, "test.npz: 19 labels for 20 images"),
        ({"labels": np.zeros((20, 1), int)}, "test.npz: 'labels' must be whole numbers from 0, one per image"),
        ({"labels": np.zeros(20)}, "test.npz: 'labels' must be whole numbers from 0"),
        ({"labels": np.full(20, -1)}, "test.npz: 'labels' must be whole numbers from 0"),
        ({"labels": np.full(20, 2**40)}, "test.npz: 'labels' must be whole numbers from 0"),
    ],
)
def test_npz_arrays_that_cannot_be_trained_on_are_refused(npz_folder, arrays, message):
    folder = npz_folder("test", **arrays)
    assert message in refusal(lambda: checked(own.npz(folder)))


@pytest.mark.parametrize("kind", [np.int64, np.bool_, np.complex64])
def test_npz_pictures_of_another_type_are_refused(npz_folder, kind):
    folder = npz_folder("all", images=np.ones((20, 4, 5), kind))
    said = refusal(lambda: checked(own.npz(folder)))
    assert f"npz, train images: dtype {np.dtype(kind)}, expected uint8 in 0..1 or float in [0, 1]" in said


def test_no_damage_to_an_npz_passes(npz_folder):
    path = npz_folder().data_dir / "train.npz"
    sound, rng = path.read_bytes(), np.random.default_rng(3)
    expected = own._read_npz(path)
    for _ in range(200):
        path.write_bytes(flipped_anywhere(sound, rng))
        try:
            found = own._read_npz(path)
            assert all(np.array_equal(a, b) for a, b in zip(found[:2], expected[:2], strict=True))
        except DataError as error:
            assert str(path) in str(error)
    path.write_bytes(sound[: len(sound) // 2])
    assert f"{path} cannot be read as .npz" in refusal(own._read_npz, path)


@pytest.mark.parametrize("content", [b"", b"text", "npy", "zip"])
def test_what_is_no_npz_is_refused(npz_folder, content):
    place = npz_folder()
    path = place.data_dir / "train.npz"
    if content == "npy":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("images", "text")
    else:
        path.write_bytes(content)
    assert str(path) in refusal(own.npz, place)


def test_a_folder_without_arrays_names_what_is_missing(place):
    assert refusal(own.npz, place).startswith(f"data 'npz': no train.npz or train.npy in {place.data_dir};")


def test_pictures_of_real_photographs_keep_the_folders_split(data_dir, place, tmp_path):
    import tarfile

    with tarfile.open(data_dir / "cifar10_jpeg" / "CIFAR-10-images.tar.gz") as archive:
        members = [m for m in archive if m.isfile() and m.name.endswith(("00.jpg", "50.jpg"))]
        archive.extractall(tmp_path, members, filter="data")
    dataset = checked(own.folder(Place(tmp_path / "CIFAR-10-images", place.cache_dir, print)))
    assert dataset.shape == (32, 32, 3) and dataset.num_classes == 10
    assert dataset.sizes == {"train": 900, "validation": 100, "test": 200}
    path = pathlib.Path(tmp_path, "CIFAR-10-images", "test", "airplane", "0000.jpg")
    np.testing.assert_array_equal(dataset.splits["test"].images[0], np.asarray(Image.open(path)))
