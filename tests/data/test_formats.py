"""Decoders of published formats return what the files hold, or one line that names the file and what is wrong."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.refusals import flipped_anywhere, refusal
from vae_jax.data.formats import read_amat, read_cifar, read_dsprites, read_idx, read_omniglot
from vae_jax.errors import DataError

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (7, 3, 2), np.uint8)  # H differs from W


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("array", [PICTURES, PICTURES[:, 0, 0]], ids=["pictures", "labels"])
def test_idx_is_read_packed_or_not(tmp_path, array, packed):
    path = tmp_path / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path, array.ndim), array)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not an IDX file of bytes in 3 dimensions"),
        (b"\0\0\x08\x03\0", "is not an IDX file of bytes in 3 dimensions"),
        (b"PK" + bytes(40), "is not an IDX file of bytes in 3 dimensions"),
        (idx_bytes(PICTURES[:, 0, 0]), "is not an IDX file of bytes in 3 dimensions"),
        (b"\0\0\x0b\x03" + bytes(40), "is not an IDX file of bytes in 3 dimensions"),
        (idx_bytes(PICTURES)[:-1], "41 values, but its header promises 7x3x2"),
        (idx_bytes(PICTURES) + b"x", "43 values, but its header promises 7x3x2"),
        (b"\0\0\x08\x03" + b"\xff\xff\xff\xf9" * 3 + bytes(7), "its header promises 4294967289x"),
    ],
)
def test_what_is_no_idx_file_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    text = refusal(read_idx, tmp_path / "x", 3)
    assert text.startswith(str(tmp_path / "x")) and message in text


def test_no_flipped_bit_and_no_truncation_of_a_gz_passes(tmp_path):
    path = tmp_path / "x.gz"
    labels = RNG.integers(0, 10, 10003, np.uint8)
    sound = gzip.compress(idx_bytes(labels))
    refused = 0
    for _ in range(200):
        path.write_bytes(flipped_anywhere(sound, RNG))
        try:  # a flip in the time stamp of the header is harmless
            np.testing.assert_array_equal(read_idx(path, 1), labels)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 190
    for size in 0, 5, 30, len(sound) // 2, len(sound) - 1:
        path.write_bytes(sound[:size])
        assert f"{path} " in refusal(read_idx, path, 1)


def test_amat_is_read_by_rows(tmp_path):
    bits = RNG.integers(0, 2, (5, 2, 2), np.uint8)
    (tmp_path / "x.amat").write_text("".join(" ".join(map(str, row.ravel())) + " \n" for row in bits))
    np.testing.assert_array_equal(read_amat(tmp_path / "x.amat", 2)[..., 0], bits)


@pytest.mark.parametrize("content", ["", "0 1 0\n", "0 1 0 2\n", "0 1 0 x\n"])
def test_amat_of_another_content_is_refused(tmp_path, content):
    (tmp_path / "x.amat").write_text(content)
    assert "expected rows of 4, each 0 or 1" in refusal(read_amat, tmp_path / "x.amat", 2)


def write_cifar(path, pictures, labels, names):
    with tarfile.open(path, "w:gz") as archive:
        for name, images, classes in zip(names, pictures, labels, strict=True):
            rows = [bytes([c]) + x.transpose(2, 0, 1).tobytes() for x, c in zip(images, classes, strict=True)]
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = sum(map(len, rows))
            archive.addfile(info, io.BytesIO(b"".join(rows)))


CIFAR = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def test_cifar_keeps_the_order_of_its_batches_and_the_colours(tmp_path):
    pictures, labels = RNG.integers(0, 256, (6, 4, 32, 32, 3), np.uint8), RNG.integers(0, 10, (6, 4))
    write_cifar(tmp_path / "x.tar.gz", pictures[::-1], labels[::-1], CIFAR[::-1])
    splits = read_cifar(tmp_path / "x.tar.gz")
    np.testing.assert_array_equal(splits["train"].images, pictures[:5].reshape(-1, 32, 32, 3))
    np.testing.assert_array_equal(splits["train"].labels, labels[:5].ravel())
    np.testing.assert_array_equal(splits["test"].images, pictures[5])


def test_a_damaged_or_foreign_cifar_archive_is_refused(tmp_path):
    path = tmp_path / "x.tar.gz"
    pictures, labels = RNG.integers(0, 256, (6, 4, 32, 32, 3), np.uint8), np.zeros((6, 4), int)
    write_cifar(path, pictures[1:], labels[1:], CIFAR[1:])
    assert "holds no data_batch_1.bin" in refusal(read_cifar, path)
    write_cifar(path, pictures, labels, CIFAR)
    path.write_bytes(path.read_bytes()[:-2000])
    assert f"{path} cannot be read as a .tar.gz" in refusal(read_cifar, path)
    path.write_text("no archive")
    assert f"{path} cannot be read as a .tar.gz" in refusal(read_cifar, path)


def write_omniglot(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for i, name in enumerate(names):
            paper = np.full((105, 105), True)
            paper[:30, : 15 * (1 + i % 5)] = False  # ink
            file = io.BytesIO()
            Image.fromarray(paper).save(file, "PNG")
            archive.writestr(f"images_x/{name}", file.getvalue())
    return path


def test_omniglot_is_white_on_black_and_twins_count_once(tmp_path):
    first = write_omniglot(tmp_path / "a.zip", ["Greek/character01/0001_01.png", "Greek/character02/0002_16.png"])
    second = write_omniglot(tmp_path / "b.zip", ["Greek/character01/0001_01.png", "Tifinagh/character01/0003_15.png"])
    images, labels, drawers = read_omniglot([first, second], 28)
    assert images.shape == (3, 28, 28, 1) and labels.tolist() == [0, 1, 2] and drawers.tolist() == [1, 16, 15]
    # 30 x 15 (1 + i) pixels of ink of 3.75 x 3.75 to one: an area mean keeps the ink, up to rounding to whole numbers.
    for image, width in zip(images, (15, 30, 30), strict=True):
        assert image.sum(dtype=float) / 255 == pytest.approx(30 * width / 3.75**2, abs=28 * 0.5 / 255 * 28)
        assert image[0, 0, 0] == 255 and image[-1, -1, 0] == 0


def test_a_damaged_omniglot_archive_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    path.write_text("no archive")
    assert f"{path} cannot be read as a .zip" in refusal(read_omniglot, [path], 28)
    write_omniglot(path, [])
    assert f"{path} holds no pictures" in refusal(read_omniglot, [path], 28)


def write_dsprites(path, **changes):
    rows = np.stack(np.unravel_index(np.arange(6), (3, 2)), 1)
    usual = {"imgs": RNG.integers(0, 2, (6, 64, 64), np.uint8), "latents_classes": np.zeros((6, 6), int)}
    usual["latents_classes"][:, 1:3] = rows
    np.savez(path, **usual | changes)
    return usual["imgs"]


def test_dsprites_is_checked_against_its_grid(tmp_path):
    grid = {"shape": 3, "scale": 2, "orientation": 1, "x": 1, "y": 1}
    images = write_dsprites(tmp_path / "x.npz")
    found, factors = read_dsprites(tmp_path / "x.npz", grid)
    np.testing.assert_array_equal(found[..., 0], images)
    np.testing.assert_array_equal(factors[:, :2], np.stack(np.unravel_index(np.arange(6), (3, 2)), 1))
    write_dsprites(tmp_path / "x.npz", imgs=np.full((6, 64, 64), 2, np.uint8))
    assert "expected 0 and 1 of shape (6, 64, 64)" in refusal(read_dsprites, tmp_path / "x.npz", grid)
    write_dsprites(tmp_path / "x.npz", latents_classes=np.zeros((6, 6), int))
    assert "its factors are not the grid" in refusal(read_dsprites, tmp_path / "x.npz", grid)
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:-50])
    assert "cannot be read as .npz" in refusal(read_dsprites, tmp_path / "x.npz", grid)
