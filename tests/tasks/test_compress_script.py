"""compress.py as a user types it: files go and come back in other processes, and every mistake is one clear line."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.refusals import flipped
from tests.script import output_of, run_script
from vae_jax.data.sources.embedded import digits
from vae_jax.errors import ConfigError, DataError, OutputError, StorageError
from vae_jax.tasks.compression import container
from vae_jax.tasks.compression.originals import Originals, check_target, read_originals, write_originals

BERNOULLI = {"model__likelihood__name": "bernoulli", "model__likelihood__min_scale": None}
BINARY = {"data__pixels": "threshold", **BERNOULLI, "train__epochs": 12}
IMAGES = (digits(None).splits["test"].images[..., 0] >= 8).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(saved_run):
    return saved_run("digits.py:variant=vae,runlocal", **BINARY)


@pytest.fixture(scope="module")
def conditional(saved_run):
    return saved_run("digits.py:variant=cvae,runlocal", **BINARY)


def refused(code, *words):
    found, out, err = run_script("compress.py", *words)
    assert (found, out) == (code, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


def test_an_array_comes_back_as_the_same_file_in_another_process(folder, tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    out = output_of("compress", "encode", f"--workdir={folder}", tmp_path / "a.npy", f"--out={tmp_path / 'a.vjx'}")
    size = (tmp_path / "a.vjx").stat().st_size
    assert f"250 pictures of 16000 bytes in {size} bytes, {8 * size / 16000:.4f} bits/dim" in out
    assert size < 16000 / 8  # fewer than the bits themselves
    command = [sys.executable, "scripts/compress.py", "decode", f"--workdir={folder}", tmp_path / "a.vjx"]
    subprocess.run([*command, f"--out={tmp_path / 'b.npy'}"], cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "b.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "a.vjx", "b.npy"]


def test_labels_of_a_conditional_model_are_kept(conditional, tmp_path):
    labels = digits(None).splits["test"].labels[:30]
    np.savez(tmp_path / "a.npz", images=255 * IMAGES[:30, ..., None], labels=labels)
    output_of("compress", "encode", f"--workdir={conditional}", tmp_path / "a.npz", f"--out={tmp_path / 'a.vjx'}")
    output_of("compress", "decode", f"--workdir={conditional}", tmp_path / "a.vjx", f"--out={tmp_path / 'b.npz'}")
    with np.load(tmp_path / "b.npz") as again:
        np.testing.assert_array_equal(again["images"], 255 * IMAGES[:30, ..., None])
        np.testing.assert_array_equal(again["labels"], labels)


def test_a_folder_of_pictures_comes_back_as_png_under_its_names(folder, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    names = {"0.png": "0.png", "sub/1.bmp": "sub/1.bmp.png", "sub/2.PNG": "sub/2.PNG"}
    for i, name in enumerate(names):
        Image.fromarray(255 * IMAGES[i]).save(tmp_path / "in" / name)
    output_of("compress", "encode", f"--workdir={folder}", tmp_path / "in", f"--out={tmp_path / 'a.vjx'}")
    flags = f"--workdir={folder}", tmp_path / "a.vjx", f"--out={tmp_path / 'out'}"
    output_of("compress", "decode", *flags)
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "out")) == 3
    for i, name in enumerate(names.values()):
        np.testing.assert_array_equal(Image.open(tmp_path / "out" / name), 255 * IMAGES[i])
    assert "not an empty folder" in refused(73, "decode", *flags)


def test_evaluate_writes_its_figures(folder):
    assert "bits/dim" in output_of("compress", "evaluate", f"--workdir={folder}")
    figures = json.loads((folder / "compression.json").read_text())
    assert figures["lossless"]["num_images"] == 250


def test_wrong_files_models_and_flags_are_refused(folder, conditional, tmp_path):
    np.save(tmp_path / "a.npy", IMAGES[:5])
    flags = f"--workdir={folder}", f"--out={tmp_path / 'out.npy'}"
    output_of("compress", "encode", flags[0], tmp_path / "a.npy", f"--out={tmp_path / 'a.vjx'}")
    content = (tmp_path / "a.vjx").read_bytes()
    (tmp_path / "short.vjx").write_bytes(content[:-7])
    assert "cut short" in refused(65, "decode", *flags, tmp_path / "short.vjx")
    (tmp_path / "altered.vjx").write_bytes(flipped(content, -40))
    assert "altered" in refused(65, "decode", *flags, tmp_path / "altered.vjx")
    assert "No such file" in refused(65, "decode", *flags, tmp_path / "none.vjx")
    assert "another model" in refused(2, "decode", f"--workdir={conditional}", flags[1], tmp_path / "a.vjx")
    assert "must end in .npy or .npz" in refused(2, "decode", flags[0], tmp_path / "a.vjx", f"--out={tmp_path / 'b'}")
    assert "must end in .vjx" in refused(2, "encode", *flags, tmp_path / "a.npy")
    assert "no run folder" in refused(2, "decode", f"--workdir={tmp_path}", flags[1], tmp_path / "a.vjx")
    assert "required" in refused(2, "encode", flags[0], tmp_path / "a.npy")
    assert not (tmp_path / "out.npy").exists()


def test_a_gray_picture_is_refused_with_what_to_do(folder, tmp_path):
    np.save(tmp_path / "gray.npy", IMAGES[:1] * np.uint8(99))
    message = refused(65, "encode", f"--workdir={folder}", tmp_path / "gray.npy", f"--out={tmp_path / 'a.vjx'}")
    assert "a pixel is 99" in message and "0 and 255" in message
    assert not (tmp_path / "a.vjx").exists()


def test_originals_that_do_not_fit_are_refused(tmp_path):
    shape = (8, 8, 1)
    np.save(tmp_path / "float.npy", IMAGES / 1.0)
    np.save(tmp_path / "flat.npy", IMAGES[0])
    np.savez(tmp_path / "labels.npz", images=IMAGES[:3], labels=[1, 2])
    np.savez(tmp_path / "other.npz", x=IMAGES)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty").mkdir()
    (tmp_path / "wide").mkdir()
    Image.new("L", (9, 8)).save(tmp_path / "wide" / "a.png")
    for name, words in {
        "float.npy": "holds float64.*uint8",
        "flat.npy": r"shape \(8, 8\)",
        "labels.npz": "labels must be 3",
        "other.npz": "no array 'images', only: x",
        "text.npy": "cannot be read as an array",
        "none.npy": "no such file",
        "none.txt": "no such file or folder",
        "empty": "no pictures",
        "wide": r"a.png has the shape \(8, 9, 1\)",
    }.items():
        with pytest.raises(DataError, match=words):
            read_originals(tmp_path / name, shape)
    shutil.copy(tmp_path / "wide" / "a.png", tmp_path / "wide" / "b.jpg.png")
    shutil.copy(tmp_path / "wide" / "a.png", tmp_path / "wide" / "b.jpg")
    with pytest.raises(DataError, match="both come back as b"):
        read_originals(tmp_path / "wide", (8, 9, 1))
    for target, names, error, words in (
        ("x", None, ConfigError, "must end in"),
        ("x/y.npy", None, OutputError, "is no folder"),
        ("x", ["../a.png"], DataError, "outside"),
        ("x", ["/a.png"], DataError, "outside"),
    ):
        with pytest.raises(error, match=words):
            check_target(tmp_path / target, names)


@pytest.mark.parametrize("mode", ["I;16", "RGBA", "LA", "CMYK"])
def test_pictures_of_which_something_would_be_lost_are_refused(mode, tmp_path):
    Image.new(mode, (8, 8)).save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    with pytest.raises(DataError, match=r"would be lost; save it as 8-bit gray or RGB"):
        read_originals(tmp_path, (8, 8, 1))


def deep_png(path):
    """Write a picture of 8x8 with three values of 16 bits, which Pillow reads but cannot write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(8))
    parts = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)), chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))


def several(path):
    page = Image.new("L", (8, 8))
    page.save(path, save_all=True, append_images=[page, page])


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.png", deep_png, "more than 8 bits a value"),
        ("a.ppm", lambda path: path.write_bytes(b"P6 8 8 65535\n" + bytes(384)), "more than 8 bits a value"),
        ("a.tif", several, "holds 3 pictures, of which all but one would be lost"),
    ],
)
def test_files_that_hold_more_than_is_read_are_refused(name, write, said, tmp_path):
    write(tmp_path / name)
    with pytest.raises(DataError, match=said):
        read_originals(tmp_path, (8, 8, 1 if name == "a.tif" else 3))


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", "RGB"), ("tif", "RGB"), ("ppm", "RGB"), ("jp2", "RGB"), ("pgm", "L")]
)
def test_files_of_8_bits_are_read(suffix, kind, tmp_path):
    Image.new(kind, (8, 8)).save(tmp_path / f"a.{suffix}")
    assert read_originals(tmp_path, (8, 8, len(kind))).images.shape == (1, 8, 8, len(kind))


def test_an_archive_by_the_name_of_an_array_and_labels_beyond_int32_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES[:2])
    np.save(tmp_path / "a_labels.npy", np.array([2**32 + 3, 1], np.uint64))
    with pytest.raises(DataError, match="labels must be whole numbers of 0 or more, below 2147483648"):
        read_originals(tmp_path / "a.npy", (8, 8, 1))
    for name in "a_labels.npy", "a.npy":
        with (tmp_path / name).open("wb") as file:
            np.savez(file, x=IMAGES[:2])
        with pytest.raises(DataError, match=rf"{name} is an archive of arrays; its name must end in .npz"):
            read_originals(tmp_path / "a.npy", (8, 8, 1))


def test_labels_beside_an_array_are_read_and_an_empty_array_is_kept(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES[:2])
    np.save(tmp_path / "a_labels.npy", np.array([3, 1]))
    assert read_originals(tmp_path / "a.npy", (8, 8, 1)).labels.tolist() == [3, 1]
    empty = Originals(np.zeros((0, 8, 8, 1), np.uint8), None, channel_axis=False)
    write_originals(tmp_path / "e.npy", empty)
    assert np.load(tmp_path / "e.npy").shape == (0, 8, 8)
    assert read_originals(tmp_path / "e.npy", (8, 8, 1)).images.shape == (0, 8, 8, 1)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(StorageError):
        container.write(tmp_path / "none" / "a.vjx", b"x")
    assert os.listdir(tmp_path) == []
