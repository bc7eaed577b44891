"""Sources return what the files hold, in disjoint splits, or one line that names the file and what is wrong with it."""

import collections
import gzip
import hashlib
import struct
import zipfile

import numpy as np
import pytest
import sklearn.datasets

from vae_jax.data import sources
from vae_jax.data.dataset import checked, sha256
from vae_jax.errors import DataError

RNG = np.random.default_rng(0)
IDX = {  # stem -> array; H differs from W
    "train-images-idx3-ubyte": RNG.integers(0, 256, (10003, 3, 2), np.uint8),
    "train-labels-idx1-ubyte": RNG.integers(0, 10, 10003, np.uint8),
    "t10k-images-idx3-ubyte": RNG.integers(0, 256, (7, 3, 2), np.uint8),
    "t10k-labels-idx1-ubyte": RNG.integers(0, 10, 7, np.uint8),
}


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    """Two of the files compressed, two not."""
    for i, (stem, array) in enumerate(IDX.items()):
        name, content = (f"{stem}.gz", gzip.compress(idx_bytes(array))) if i % 2 else (stem, idx_bytes(array))
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def npz_folder(tmp_path):
    """Three .npz files; called with arrays it replaces those of one split."""

    def write(split=None, **arrays):
        rng = np.random.default_rng(1)
        for name in "train", "validation", "test":
            usual = {"images": rng.random((20, 4, 5), np.float32), "labels": np.arange(20) % 3}
            changed = arrays if split in (name, "all") else {}
            np.savez(tmp_path / f"{name}.npz", **{k: v for k, v in (usual | changed).items() if v is not None})
        return tmp_path

    return write


def refusal(read, *args):
    with pytest.raises(DataError) as caught:
        read(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(split):
    return [image.tobytes() + bytes([label]) for image, label in zip(split.images, split.labels, strict=True)]


def assert_disjoint(dataset):
    hashes = [{hashlib.sha256(x.tobytes()).digest() for x in split.images} for split in dataset.splits.values()]
    assert sum(map(len, hashes)) == len(set.union(*hashes))


def test_digits_are_those_of_scikit_learn():
    ours, theirs = checked(sources.digits(None)), sklearn.datasets.load_digits()
    expected = [x.astype(np.uint8).tobytes() + bytes([y]) for x, y in zip(theirs.images, theirs.target, strict=True)]
    found = [row for split in ours.splits.values() for row in rows(split)]
    assert collections.Counter(found) == collections.Counter(expected)
    assert ours.sizes == {"train": 1297, "validation": 250, "test": 250}
    assert (ours.shape, ours.levels, ours.num_classes) == ((8, 8, 1), 16, 10)
    assert_disjoint(ours)


def test_digits_keep_their_split():
    assert sha256(sources.digits(None))[:16] == "084b6cd580711843"


def test_every_split_of_digits_has_all_classes_in_similar_shares():
    for split in sources.digits(None).splits.values():
        shares = np.bincount(split.labels, minlength=10) / len(split.labels)
        assert shares.min() > 0.05 and shares.max() < 0.16


def test_the_sha256_sees_one_pixel_and_one_label():
    first, pixel, label = (sources.digits(None) for _ in range(3))
    pixel.splits["test"].images[3, 2, 1] ^= 1
    label.splits["train"].labels[5] ^= 1
    assert sha256(first) == sha256(sources.digits(None))
    assert len({sha256(first), sha256(pixel), sha256(label)}) == 3


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("nested", [False, True], ids=["in the folder", "in a folder of its own"])
def test_idx_files_are_read_and_split(idx_folder, name, nested):
    if nested:
        (idx_folder / name).mkdir()
        for path in list(idx_folder.glob("*ubyte*")):
            path.rename(idx_folder / name / path.name)
    dataset = checked(getattr(sources, name)(idx_folder))
    assert dataset.sizes == {"train": 3, "validation": 10000, "test": 7}
    assert (dataset.name, dataset.shape, dataset.levels, dataset.num_classes) == (name, (3, 2, 1), 255, 10)
    train = [np.concatenate([dataset.splits[s][i] for s in ("train", "validation")]) for i in (0, 1)]
    np.testing.assert_array_equal(train[0][..., 0], IDX["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(train[1], IDX["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(dataset.splits["test"].images[..., 0], IDX["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(dataset.splits["test"].labels, IDX["t10k-labels-idx1-ubyte"])


@pytest.mark.parametrize(
    "stem, content, message",
    [
        ("t10k-images-idx3-ubyte", b"", "is not an IDX file of bytes in 3 dimensions"),
        ("t10k-images-idx3-ubyte", b"\0\0\x08\x03\0", "is not an IDX file of bytes in 3 dimensions"),
        ("t10k-images-idx3-ubyte", b"PK" + bytes(40), "is not an IDX file of bytes in 3 dimensions"),
        ("t10k-images-idx3-ubyte", idx_bytes(IDX["t10k-labels-idx1-ubyte"]), "is not an IDX file of bytes in 3"),
        ("train-labels-idx1-ubyte", b"\0\0\x0b\x01" + bytes(40), "is not an IDX file of bytes in 1"),
        ("t10k-images-idx3-ubyte", idx_bytes(IDX["t10k-images-idx3-ubyte"])[:-1], "41 values, but its header promises"),
        (
            "t10k-images-idx3-ubyte",
            idx_bytes(IDX["t10k-images-idx3-ubyte"]) + b"x",
            "43 values, but its header promise",
        ),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\xff\xff\xff\xf9" + bytes(7), "its header promises 4294967289"),
    ],
)
def test_damaged_idx_files_are_refused_by_name(idx_folder, stem, content, message):
    (idx_folder / f"{stem}.gz").unlink(missing_ok=True)
    (idx_folder / stem).write_bytes(content)
    text = refusal(sources.mnist, idx_folder)
    assert text.startswith(str(idx_folder / stem)) and message in text


@pytest.mark.parametrize(
    "stem, array, message",
    [
        ("t10k-labels-idx1-ubyte", np.zeros(6, np.uint8), "mnist, test labels: 6 labels for 7 images"),
        ("t10k-labels-idx1-ubyte", np.full(7, 10, np.uint8), "mnist, test labels: values in 10..10, expected 0..9"),
        ("t10k-images-idx3-ubyte", np.zeros((7, 2, 3), np.uint8), "mnist, test images: uint8 of shape (2, 3, 1), but"),
        ("train-images-idx3-ubyte", IDX["train-images-idx3-ubyte"][:10000], "10000 training pictures, expected more"),
    ],
)
def test_idx_files_that_do_not_fit_together_are_refused(idx_folder, stem, array, message):
    (idx_folder / f"{stem}.gz").unlink(missing_ok=True)
    (idx_folder / stem).write_bytes(idx_bytes(array))
    assert message in refusal(lambda: checked(sources.mnist(idx_folder)))


def test_no_flipped_bit_and_no_truncation_of_a_gz_passes(idx_folder):
    path = idx_folder / "train-labels-idx1-ubyte.gz"
    sound, rng = path.read_bytes(), np.random.default_rng(2)
    refused = 0
    for _ in range(200):
        damaged = bytearray(sound)
        damaged[rng.integers(len(sound))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:  # a flip in the time stamp of the header is harmless
            np.testing.assert_array_equal(sources._read_idx(path, 1), IDX["train-labels-idx1-ubyte"])
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 190
    for size in 0, 5, 30, len(sound) // 2, len(sound) - 1:
        path.write_bytes(sound[:size])
        assert f"{path} " in refusal(sources.mnist, idx_folder)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "binarized_mnist", "npz"])
def test_missing_folders_and_files_are_named(name, tmp_path):
    source = getattr(sources, name)
    assert "--data_dir=FOLDER" in refusal(source, None)
    assert f"--data_dir={tmp_path}/none is not a folder" in refusal(source, tmp_path / "none")
    first = {"npz": "train.npz", "binarized_mnist": "binarized_mnist_train.amat[.gz]"}
    expected = f"data {name!r}: no {first.get(name, 'train-images-idx3-ubyte[.gz]')} in {tmp_path};"
    assert refusal(source, tmp_path).startswith(expected)


def test_binarized_mnist_of_another_size_is_refused(tmp_path):
    (tmp_path / "binarized_mnist_train.amat").write_text("0 1 " * 392 + "\n")
    assert "784 digits, expected 50000 rows of 784" in refusal(sources.binarized_mnist, tmp_path)


def test_npz_holds_your_own_pictures(npz_folder):
    dataset = checked(sources.npz(npz_folder()))
    first = np.random.default_rng(1).random((20, 4, 5), np.float32)
    np.testing.assert_array_equal(dataset.splits["train"].images[..., 0], first)
    assert (dataset.shape, dataset.levels, dataset.num_classes) == ((4, 5, 1), 1, 3)
    assert dataset.splits["test"].labels.tolist() == [i % 3 for i in range(20)]


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
    dataset = checked(sources.npz(npz_folder("all", images=images)))
    stored = dataset.splits["validation"].images
    assert stored.dtype == (np.uint8 if images.dtype == np.uint8 else np.float32)
    np.testing.assert_allclose(stored.reshape(images.shape) / levels, images / levels, rtol=1e-6)
    assert dataset.levels == levels


def test_npz_without_labels_in_one_file_has_none(npz_folder):
    dataset = checked(sources.npz(npz_folder("test", labels=None)))
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
        (
            {"images": np.zeros((20, 5, 4), np.float32)},
            "npz, test images: float32 of shape (5, 4, 1), but the training",
        ),
        ({"images": np.zeros((20, 20), np.float32)}, "npz, test images: shape (20, 20), expected [N,H,W,C]"),
        ({"images": np.zeros((0, 4, 5), np.float32), "labels": np.zeros(0, int)}, "shape (0, 4, 5, 1), expected"),
        ({"images": np.array([None] * 20)}, "test.npz cannot be read as .npz: Object arrays cannot be loaded"),
        ({"images": None}, "test.npz holds no array 'images', only: labels"),
        ({"labels": np.zeros(19, int)}, "npz, test labels: 19 labels for 20 images"),
        ({"labels": np.zeros((20, 1), int)}, "test.npz: 'labels' must be whole numbers from 0, one per image"),
        ({"labels": np.zeros(20)}, "test.npz: 'labels' must be whole numbers from 0"),
        ({"labels": np.full(20, -1)}, "test.npz: 'labels' must be whole numbers from 0"),
        ({"labels": np.full(20, 2**40)}, "test.npz: 'labels' must be whole numbers from 0"),
    ],
)
def test_npz_arrays_that_cannot_be_trained_on_are_refused(npz_folder, arrays, message):
    folder = npz_folder("test", **arrays)
    assert message in refusal(lambda: checked(sources.npz(folder)))


@pytest.mark.parametrize("kind", [np.int64, np.bool_, np.complex64])
def test_npz_pictures_of_another_type_are_refused(npz_folder, kind):
    folder = npz_folder("all", images=np.ones((20, 4, 5), kind))
    expected = f"npz, train images: dtype {np.dtype(kind)}, expected uint8 in 0..1 or float in [0, 1]"
    assert expected in refusal(lambda: checked(sources.npz(folder)))


def test_bytes_above_the_white_level_are_refused():
    dataset = sources.digits(None)
    dataset.splits["test"].images[0, 0, 0] = 17
    assert "digits, test images: largest value 17, expected at most 16" in refusal(checked, dataset)


def test_no_damage_to_an_npz_passes(npz_folder):
    path = npz_folder() / "train.npz"
    sound, rng = path.read_bytes(), np.random.default_rng(3)
    expected = sources._read_npz(path)
    for _ in range(200):
        damaged = bytearray(sound)
        damaged[rng.integers(len(sound))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = sources._read_npz(path)
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        except DataError as error:
            assert str(path) in str(error)
    path.write_bytes(sound[: len(sound) // 2])
    assert f"{path} cannot be read as .npz" in refusal(sources._read_npz, path)


@pytest.mark.parametrize("content", [b"", b"text", "npy", "zip"])
def test_what_is_no_npz_is_refused(npz_folder, content):
    path = npz_folder() / "train.npz"
    if content == "npy":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("images", "text")
    else:
        path.write_bytes(content)
    assert str(path) in refusal(sources.npz, path.parent)


LABELS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # of MNIST's 60000


@pytest.mark.parametrize(
    "name, mean, train_labels, test_labels",
    [
        ("mnist", 0.1307, LABELS, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fashion_mnist", 0.2860, [6000] * 10, [1000] * 10),
    ],
)
def test_the_original_files_have_their_published_statistics(data_dir, name, mean, train_labels, test_labels):
    dataset = checked(getattr(sources, name)(data_dir))
    train, validation, test = dataset.splits.values()
    assert dataset.sizes == {"train": 50000, "validation": 10000, "test": 10000} and dataset.shape == (28, 28, 1)
    assert (50000 * train.images.mean() + 10000 * validation.images.mean()) / 60000 / 255 == pytest.approx(
        mean, abs=5e-5
    )
    np.testing.assert_array_equal(np.bincount(np.concatenate([train.labels, validation.labels])), train_labels)
    np.testing.assert_array_equal(np.bincount(test.labels), test_labels)
    if name == "mnist":
        assert_disjoint(dataset)


def test_the_static_binarization_is_of_the_same_pictures(data_dir):
    binary, gray = checked(sources.binarized_mnist(data_dir)), sources.mnist(data_dir)
    assert binary.sizes == gray.sizes and (binary.levels, binary.num_classes) == (1, 0)
    for names in ("train", "validation"), ("test",):  # Larochelle's validation pictures are not the last 10000
        drawn, grays = (np.concatenate([d.splits[name].images for name in names]) for d in (binary, gray))
        assert drawn.max() == 1
        assert np.abs(drawn.mean(0) - grays.mean(0) / 255).max() < 5 * 0.5 / np.sqrt(len(drawn))
        assert drawn.mean() == pytest.approx(grays.mean() / 255, abs=1e-4)
