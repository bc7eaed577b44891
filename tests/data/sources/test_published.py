"""Published sets equal their original files to the byte, through tensorflow-datasets and the cache."""

import gzip
import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.data.test_formats import CIFAR, idx_bytes, write_cifar, write_dsprites, write_omniglot
from tests.refusals import files, flipped, refusal
from vae_jax.data import cache
from vae_jax.data.dataset import checked, sha256
from vae_jax.data.formats import read_idx
from vae_jax.data.originals import Original, contents, originals_of
from vae_jax.data.sources import published
from vae_jax.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
COUNT = 10003  # the last 10000 of train are validation
IDX = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def as_originals(monkeypatch, folder, files, keep_sha=True):
    """Write files and let them be the originals of whatever set is asked for."""
    rows = []
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
        sha = hashlib.sha256((folder / name).read_bytes()).hexdigest() if keep_sha else ""
        rows.append(Original(f"http://127.0.0.1:9/{name}", sha, ""))
    monkeypatch.setattr(published, "originals_of", lambda _: rows)


@pytest.fixture
def idx(place, monkeypatch):
    """Four small IDX files of one set, as arrays."""
    arrays = [RNG.integers(0, 256, (COUNT, 3, 2), np.uint8), RNG.integers(0, 10, COUNT, np.uint8)]
    arrays += [RNG.integers(0, 256, (7, 3, 2), np.uint8), RNG.integers(0, 10, 7, np.uint8)]
    packed = [gzip.compress(idx_bytes(array), 1) for array in arrays]
    as_originals(monkeypatch, place.data_dir, dict(zip(IDX, packed, strict=True)))
    return arrays


def assert_is(dataset, arrays):
    train, labels, test, test_labels = arrays
    parts = [dataset.splits["train"], dataset.splits["validation"]]
    np.testing.assert_array_equal(np.concatenate([part.images[:, ..., 0] for part in parts]), train)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), labels)
    np.testing.assert_array_equal(dataset.splits["test"].images[:, ..., 0], test)
    np.testing.assert_array_equal(dataset.splits["test"].labels, test_labels)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_idx_sets_equal_their_files_and_are_prepared_once(place, idx, name):
    dataset = checked(getattr(published, name)(place))
    assert dataset.sizes == {"train": 3, "validation": 10000, "test": 7}
    assert (dataset.name, dataset.shape, dataset.levels, dataset.num_classes) == (name, (3, 2, 1), 255, 10)
    assert_is(dataset, idx)
    assert place.said == [f"preparing {name}; this is done once"]
    shutil.rmtree(place.data_dir)  # neither the files nor what tensorflow-datasets keeps is looked at again
    shutil.rmtree(place.cache_dir / "tfds")
    assert sha256(getattr(published, name)(place)) == sha256(dataset)
    assert len(place.said) == 1


def test_a_damaged_cache_is_made_again_from_the_tfds_form(place, idx):
    published.mnist(place)
    shutil.rmtree(place.data_dir)
    path = place.cache_dir / "data" / "mnist-1.0.0" / "train-images.npy"
    path.write_bytes(flipped(path.read_bytes(), -1))
    assert_is(published.mnist(place), idx)
    assert "is damaged" in place.said[-1]


def test_a_damaged_tfds_form_is_made_again_from_the_files(place, idx):
    published.mnist(place)
    shutil.rmtree(place.cache_dir / "data")
    (path,) = (place.cache_dir / "tfds" / "mnist" / "1.0.0").glob("*-train.array_record*")
    path.write_bytes(flipped(path.read_bytes(), path.stat().st_size // 2))
    assert_is(published.mnist(place), idx)
    assert "is damaged" in place.said[1] and place.said[2] == "preparing mnist; this is done once"


def test_what_was_half_written_by_a_killed_process_is_removed(place, idx):
    left = place.cache_dir / "tfds" / "mnist" / "incomplete.ABC_1.0.0"
    left.mkdir(parents=True)
    (left / "mnist-train.array_record-00000-of-00001").write_bytes(b"half")
    assert_is(published.mnist(place), idx)
    assert not left.exists()


def test_two_sets_with_equal_file_names_are_not_mixed_up(place, idx, monkeypatch):
    published.mnist(place)
    other = [array[::-1] for array in idx]
    folder = place.data_dir / "fashion_mnist"
    folder.mkdir()
    as_originals(monkeypatch, folder, {n: gzip.compress(idx_bytes(a)) for n, a in zip(IDX, other, strict=True)})
    assert_is(published.fashion_mnist(place), other)
    assert_is(published.mnist(place), idx)


@pytest.mark.parametrize("content", [b"\0\0\x08\x03", b"text", b""], ids=["short", "text", "empty"])
def test_files_that_cannot_be_decoded_leave_nothing_half_written(place, monkeypatch, content):
    as_originals(monkeypatch, place.data_dir, {name: gzip.compress(content) for name in IDX})
    assert "is not an IDX file" in refusal(published.mnist, place)
    assert not files(place.cache_dir)


def test_cifar10_is_split_and_keeps_its_colours(place, monkeypatch):
    pictures, labels = RNG.integers(0, 256, (6, 1100, 32, 32, 3), np.uint8), RNG.integers(0, 10, (6, 1100))
    write_cifar(place.data_dir / "cifar-10-binary.tar.gz", pictures, labels, CIFAR)
    as_originals(monkeypatch, place.data_dir, {"cifar-10-binary.tar.gz": None})
    dataset = checked(published.cifar10(place))
    assert dataset.sizes == {"train": 500, "validation": 5000, "test": 1100}
    np.testing.assert_array_equal(dataset.splits["train"].images[:], pictures[0, :500])
    np.testing.assert_array_equal(dataset.splits["validation"].labels[-1100:], labels[4])
    np.testing.assert_array_equal(dataset.splits["test"].images[:], pictures[5])


def test_omniglot_is_split_by_drawer(place, monkeypatch):
    names = [f"Greek/character{c:02}/{c:04}_{d:02}.png" for c in (1, 2) for d in range(1, 21)]
    write_omniglot(place.data_dir / "a.zip", names)
    as_originals(monkeypatch, place.data_dir, {"a.zip": None})
    dataset = published.omniglot28(place, subset="small")
    assert dataset.sizes == {"train": 28, "validation": 2, "test": 10}
    assert np.bincount(dataset.splits["test"].labels).tolist() == [5, 5]
    with pytest.raises(ConfigError, match="expected full or small"):
        published.omniglot28(place, subset="tiny")


def test_dsprites_keeps_pictures_and_factors_together(place, monkeypatch):
    grid = {"shape": 3, "scale": 2, "orientation": 1, "x": 10, "y": 4}
    factors = np.stack(np.unravel_index(np.arange(240), tuple(grid.values())), 1)
    whole, classes = RNG.integers(0, 2, (240, 64, 64), np.uint8), np.pad(factors, ((0, 0), (1, 0)))
    write_dsprites(place.data_dir / "d.npz", imgs=whole, latents_classes=classes)
    monkeypatch.setattr(published, "FACTORS", grid)
    as_originals(monkeypatch, place.data_dir, {"d.npz": None}, keep_sha=False)
    dataset = checked(published.dsprites(place))
    assert dataset.sizes == {"train": 216, "validation": 12, "test": 12} and dataset.factors == grid
    for split in dataset.splits.values():
        where = np.ravel_multi_index(split.factors.T, tuple(grid.values()))
        np.testing.assert_array_equal(split.images[:, ..., 0], whole[where])
        np.testing.assert_array_equal(split.labels, split.factors[:, 0])


LABELS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # of MNIST's 60000


@pytest.mark.long
@pytest.mark.parametrize(
    "name, mean, train_labels, test_labels",
    [
        ("mnist", 0.1307, LABELS, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fashion_mnist", 0.2860, [6000] * 10, [1000] * 10),
    ],
)
def test_the_original_files_come_out_to_the_byte(real_place, name, mean, train_labels, test_labels):
    dataset = checked(getattr(published, name)(real_place))
    assert dataset.sizes == {"train": 50000, "validation": 10000, "test": 10000} and dataset.shape == (28, 28, 1)
    files = [real_place.data_dir / name / original.name for original in originals_of(name)]
    arrays = [read_idx(path, 3 if "idx3" in path.name else 1) for path in files]
    assert_is(dataset, arrays)
    assert arrays[0].mean() / 255 == pytest.approx(mean, abs=5e-5)
    np.testing.assert_array_equal(np.bincount(arrays[1]), train_labels)
    np.testing.assert_array_equal(np.bincount(arrays[3]), test_labels)
    if name == "mnist":
        hashes = [{hashlib.sha256(x.tobytes()).digest() for x in s.images[:]} for s in dataset.splits.values()]
        assert sum(map(len, hashes)) == len(set.union(*hashes))


@pytest.mark.long
def test_the_static_binarization_is_of_the_same_pictures(real_place):
    binary, gray = checked(published.binarized_mnist(real_place)), published.mnist(real_place)
    assert binary.sizes == gray.sizes and (binary.levels, binary.num_classes) == (1, 0)
    for names in ("train", "validation"), ("test",):  # Larochelle's validation pictures are not the last 10000
        drawn, grays = (np.concatenate([d.splits[name].images[:] for name in names]) for d in (binary, gray))
        assert drawn.max() == 1
        assert np.abs(drawn.mean(0) - grays.mean(0) / 255).max() < 5 * 0.5 / np.sqrt(len(drawn))
        assert drawn.mean() == pytest.approx(grays.mean() / 255, abs=1e-4)
    path = next(real_place.data_dir.glob("binarized_mnist/binarized_mnist_test.amat*"))
    digits = np.frombuffer(contents(path).translate(None, b" \n"), np.uint8) - ord("0")
    np.testing.assert_array_equal(binary.splits["test"].images[:].ravel(), digits)


def test_the_small_omniglot_has_4840_different_pictures(real_place):
    dataset = checked(published.omniglot28(real_place, subset="small"))
    assert dataset.sizes == {"train": 242 * 14, "validation": 242, "test": 242 * 5}
    assert 0.05 < dataset.splits["train"].images[:].mean() / 255 < 0.2  # thin white strokes on black


def test_a_swapped_file_is_refused(real_place, place):
    """Fashion-MNIST's files under MNIST's name, which nothing but the SHA-256 can tell."""
    for original in originals_of("mnist"):
        shutil.copy(real_place.data_dir / "fashion_mnist" / original.name, place.data_dir)
    assert "is not the published file" in refusal(published.mnist, place)


def test_tensorflow_is_not_needed(place):
    code = (
        "import sys\n"
        "from vae_jax.data import builders; from vae_jax.data.dataset import Split; import numpy as np, pathlib\n"
        "images = np.arange(48, dtype=np.uint8).reshape(4, 3, 4, 1)\n"
        f"folder = pathlib.Path({str(place.cache_dir)!r})\n"
        "builders.write(folder, 'toy', '1.0.0', 'toy', 2, {'train': Split(images, np.array([0, 1, 1, 0], np.int32))})\n"
        "found = builders.read(folder, 'toy', '1.0.0')['train']\n"
        "assert (found.images == images).all() and found.labels.tolist() == [0, 1, 1, 0]\n"
        "assert not {'tensorflow', 'jax'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_the_cache_is_not_written_when_the_folder_is_wrong(place):
    gone = cache.Place(place.data_dir / "none", place.cache_dir, print)
    with pytest.raises(DataError, match="is not a folder"):
        published.mnist(gone)
