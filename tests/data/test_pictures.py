"""Picture files of all common kinds become [N,H,W,C] in [0, 1], or one line that names the file."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.refusals import refusal
from vae_jax.data.pictures import fitted, open_picture, read_pictures

RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17  # 0, 17, ... 255


@pytest.fixture
def save(tmp_path):
    def save(picture, name="x.png", **options):
        picture.save(tmp_path / name, **options)
        return str(tmp_path / name)

    return save


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tiff", "x.gif", "x.pgm"])
def test_gray_values_are_exact_in_lossless_formats(save, name):
    images = read_pictures([save(Image.fromarray(RAMP), name)] * 2, (4, 4, 1))
    assert images.shape == (2, 4, 4, 1) and images.dtype == np.float32
    np.testing.assert_allclose(images[1, ..., 0], RAMP / 255, atol=1e-7)


def test_invert_swaps_black_and_white(save):
    path = save(Image.fromarray(RAMP))
    np.testing.assert_allclose(read_pictures([path], (4, 4, 1), True), 1 - read_pictures([path], (4, 4, 1)), atol=1e-7)


def test_a_smaller_size_is_the_mean_of_the_pixels(save):
    found = read_pictures([save(Image.fromarray(RAMP))], (2, 2, 1))[0, ..., 0]
    np.testing.assert_allclose(found, RAMP.reshape(2, 2, 2, 2).mean((1, 3)) / 255, atol=0.5 / 255)


def test_height_comes_before_width(save):
    path = save(Image.fromarray(np.repeat(RAMP[:, :2], 3, axis=0)))  # 12 high, 2 wide
    assert read_pictures([path], (12, 2, 1)).shape == (1, 12, 2, 1)
    np.testing.assert_allclose(read_pictures([path], (12, 2, 1))[0, :, 0, 0], np.repeat(RAMP[:, 0], 3) / 255, atol=1e-7)


def test_colour_becomes_luminance_and_gray_becomes_colour(save):
    red = save(Image.new("RGB", (2, 2), (255, 0, 0)), "red.png")
    np.testing.assert_allclose(read_pictures([red], (2, 2, 1)), 0.299, atol=1 / 255)
    np.testing.assert_allclose(read_pictures([red], (2, 2, 3))[0, 0, 0], [1, 0, 0])
    gray = save(Image.fromarray(RAMP), "gray.png")
    np.testing.assert_allclose(read_pictures([gray], (4, 4, 3))[0, ..., 2], RAMP / 255, atol=1e-7)


def test_sixteen_bits_are_scaled_and_not_cut_off(save):
    path = save(Image.fromarray(RAMP.astype(np.uint16) * 257))
    np.testing.assert_allclose(read_pictures([path], (4, 4, 1))[0, ..., 0], RAMP / 255, atol=1e-7)


def test_what_is_transparent_is_white_paper(save):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, :, 3] = 255  # the upper row is black ink, the lower one clear
    palette = Image.fromarray(np.array([[1, 1], [0, 0]], np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 0])
    for path in save(Image.fromarray(rgba), "a.png"), save(palette, "p.png", transparency=0):
        np.testing.assert_allclose(read_pictures([path], (2, 2, 1))[0, ..., 0], [[0, 0], [1, 1]])


def test_a_camera_s_note_of_rotation_is_followed(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    upright = read_pictures([save(Image.fromarray(RAMP), exif=exif)], (4, 4, 1))[0, ..., 0]
    np.testing.assert_allclose(upright, np.rot90(RAMP, -1) / 255, atol=1e-7)


def refused(path, shape=(4, 4, 1)):
    return refusal(read_pictures, [str(path)], shape)


def test_what_is_no_picture_is_refused_by_name(save, tmp_path):
    assert refused(tmp_path / "none.png") == f"no picture {tmp_path}/none.png"
    text = tmp_path / "text.png"
    for content in "not a picture", "":
        text.write_text(content)
        assert f"{text} cannot be read as a picture: " in refused(text)
    assert f"{tmp_path} cannot be read as a picture: Is a directory" in refused(tmp_path).replace("[Errno 21] ", "")
    assert "32 bits" in refused(save(Image.fromarray(RAMP.astype(np.float32)), "deep.tiff"))


def test_damaged_notes_of_a_camera_are_no_traceback(save):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "abc"
    path = pathlib.Path(save(Image.fromarray(RAMP), "noted.jpeg", exif=exif))
    text, numbers = b"\x01\x0f\x00\x02", b"\x01\x3f\x00\x02"  # the maker's name becomes six numbers
    assert path.read_bytes().count(text) == 1
    path.write_bytes(path.read_bytes().replace(text, numbers))
    assert f"{path} cannot be read as a picture: " in refused(path)


@pytest.mark.parametrize("format_name", ["png", "jpeg"])
def test_a_truncated_picture_is_refused(save, format_name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = pathlib.Path(save(Image.fromarray(noise), f"x.{format_name}"))
    path.write_bytes(path.read_bytes()[:-400])
    assert f"{path} cannot be read as a picture: " in refused(path)


@pytest.mark.parametrize("channels", [2, 4])
def test_only_one_or_three_channels(save, channels):
    assert f"this model needs {channels}" in refused(save(Image.fromarray(RAMP)), (4, 4, channels))


FITS = "crop", "pad", "stretch"


def fit(array, shape, how):
    return fitted(Image.fromarray(array), shape, how)[..., 0]


def test_an_odd_surplus_leaves_the_smaller_half_in_front():
    ramp = np.tile(np.arange(5, dtype=np.uint8), (2, 1))
    np.testing.assert_array_equal(fit(ramp, (2, 2, 1), "crop")[0], [1, 2])
    np.testing.assert_array_equal(fit(ramp[:, :2] + 7, (2, 5, 1), "pad")[0], [0, 0, 7, 8, 0])


def test_fits_keep_what_they_promise():
    wide = np.repeat(np.repeat(np.array([[0, 80, 160, 240]], np.uint8), 2, 0), 2, 1)[:, :8]  # 2 high, 8 wide
    assert fit(wide, (2, 4, 1), "stretch").tolist() == [[0, 80, 160, 240]] * 2
    assert fit(wide, (2, 2, 1), "crop").tolist() == [[80, 160]] * 2
    padded = fit(wide, (4, 4, 1), "pad")
    assert padded.shape == (4, 4) and padded.any(axis=1).sum() == 1  # one row of pictures, black above and below
    assert padded[padded.any(axis=1)][0].tolist() == [0, 80, 160, 240]


@pytest.mark.parametrize("how", FITS)
@pytest.mark.parametrize("shape", [(7, 5, 1), (5, 7, 3), (64, 3, 1), (1, 1, 3)])
def test_any_picture_fits_any_shape(how, shape):
    for size in (5, 7), (1, 30), (100, 3):
        noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        found = fitted(Image.fromarray(noise), shape, how)
        assert found.shape == shape and found.dtype == np.uint8


def test_a_picture_of_the_right_size_is_not_touched():
    for how in FITS:
        np.testing.assert_array_equal(fit(RAMP, (4, 4, 1), how), RAMP)


@pytest.mark.parametrize("mode, expected", [("1", "L"), ("L", "L"), ("P", "L"), ("RGB", "RGB"), ("CMYK", "RGB")])
def test_gray_stays_gray_and_colour_stays_colour(save, mode, expected):
    name = "x.tiff" if mode == "CMYK" else "x.png"
    assert open_picture(save(Image.fromarray(RAMP).convert(mode), name)).mode == expected
