"""What is too large, or no file, is refused before it is read; the limits can be raised."""

import os

import numpy as np
import pytest
from PIL import Image

from vae_jax.data.limits import check_archive
from vae_jax.data.pictures import open_picture
from vae_jax.data.sources import own
from vae_jax.errors import ConfigError, DataError
from vae_jax.tasks.compression.originals import read_originals


def test_an_archive_that_claims_far_more_than_it_holds_is_refused(place, monkeypatch):
    path = place.data_dir / "train.npz"
    np.savez_compressed(path, images=np.zeros((40, 256, 256), np.uint8))
    monkeypatch.setenv("VAE_JAX_MAX_GB", "0.002")
    for read in lambda: own.npz(place), lambda: read_originals(path, (256, 256, 1)):
        with pytest.raises(DataError, match=r"train.npz of 0.0 MB claims to hold 0.0 GB, .* set .* VAE_JAX_MAX_GB"):
            read()
    monkeypatch.setenv("VAE_JAX_MAX_GB", "1")
    check_archive(path)
    assert read_originals(path, (256, 256, 1)).images.shape == (40, 256, 256, 1)


def test_what_is_packed_as_pictures_are_is_read_whatever_its_size(place, monkeypatch):
    monkeypatch.setenv("VAE_JAX_MAX_GB", "1e-6")
    images = np.random.default_rng(0).integers(0, 2, (40, 9, 9), np.uint8)
    np.savez_compressed(place.data_dir / "train.npz", images=images)
    assert own.npz(place).sizes["train"] == 32


def test_a_picture_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    Image.new("1", (4000, 1000)).save(tmp_path / "a.png")
    open_picture(tmp_path / "a.png")
    monkeypatch.setenv("VAE_JAX_MAX_MEGAPIXELS", "3")
    with pytest.raises(
        DataError, match=r"a.png has 4 megapixels, and at most 3 are decoded; .* VAE_JAX_MAX_MEGAPIXELS"
    ):
        open_picture(tmp_path / "a.png")
    for text in "many", "-1", "nan", "inf":
        monkeypatch.setenv("VAE_JAX_MAX_MEGAPIXELS", text)
        with pytest.raises(ConfigError, match="expected a number above 0"):
            open_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "train.npz", "train.npy"])
def test_a_pipe_is_not_waited_for(place, name):
    os.mkfifo(place.data_dir / name)
    with pytest.raises(DataError, match=r"is no regular file|no train\.npz or train\.npy"):
        own.npz(place) if name.startswith("train") else open_picture(place.data_dir / name)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n", b"BM"])
def test_only_documented_formats_are_opened_whatever_a_file_is_called(tmp_path, content, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a process was started"))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read as a picture"):
        open_picture(tmp_path / "a.png")


def test_no_page_of_a_file_is_dropped(tmp_path):
    page = Image.new("L", (8, 8))
    for name in "a.tif", "a.gif", "a.webp":
        page.save(tmp_path / name, save_all=True, append_images=[Image.new("L", (8, 8), 255), page])
        with pytest.raises(DataError, match=r"holds 3 pictures, of which all but one would be lost; split it"):
            open_picture(tmp_path / name)
