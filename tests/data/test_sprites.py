"""dSprites drawn again: the same pixels as the originals, any picture by its number, the factors mean what they say."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vae_jax.data.sprites import COUNT, FACTORS, Sprites, draw, factors_of

SIZES = tuple(FACTORS.values())
ORIGINALS = "dsprites_12/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


@pytest.fixture(scope="module")
def numbers():
    """Every 151st picture: 4883 of them, with all values of all factors."""
    return np.arange(0, COUNT, 151)


@pytest.fixture(scope="module")
def pictures(numbers):
    return draw(factors_of(numbers))


@pytest.fixture
def originals(data_dir):
    """Twelve original pictures [12,64,64], and their factor values [12,5]."""
    if not (data_dir / ORIGINALS).is_file():
        pytest.skip(f"needs {ORIGINALS} in VAE_JAX_DATA_DIR")
    with np.load(data_dir / ORIGINALS) as file:
        images, values = file["imgs"], file["latents_values"][:, 1:]
    low, high = np.array([1, 0.5, 0, 0, 0]), np.array([3, 1, 2 * np.pi, 1, 1])
    return images, np.rint((values - low) / (high - low) * (np.array(SIZES) - 1)).astype(int)


def centre(pictures):
    """Mean column and row of the pixels that are on, [B,2]."""
    on = pictures[..., 0]
    grid = np.arange(64)
    return np.stack([(on.sum(1) @ grid), (on.sum(2) @ grid)], axis=-1) / on.sum((1, 2))[:, None]


def varying(name, **fixed):
    """Factors [n,5] in which one factor takes all its values; what is not fixed is 0."""
    factors = np.zeros((FACTORS[name], len(FACTORS)), int)
    for other, value in fixed.items():
        factors[:, list(FACTORS).index(other)] = value
    factors[:, list(FACTORS).index(name)] = np.arange(FACTORS[name])
    return factors


def areas(name, **fixed):
    """Number of pixels that are on as one factor takes all its values."""
    return draw(varying(name, **fixed)).sum((1, 2, 3)).tolist()


def test_every_pixel_of_the_original_pictures_agrees(originals):
    images, factors = originals
    drawn = draw(factors)[..., 0]
    assert (drawn == images).mean() == 1
    union, both = (drawn | images).sum((1, 2)), (drawn & images).sum((1, 2))
    np.testing.assert_array_equal(both / union, 1)


def test_the_outlines_are_those_of_the_authors_animation():
    # Counts of pixels in dsprites.gif: by scale, by orientation, by y and by x (at the lowest y).
    assert areas("scale", shape=0) == [100, 144, 196, 256, 324, 400]
    assert areas("scale", shape=1) == [76, 104, 144, 184, 228, 288]
    assert areas("scale", shape=2) == [58, 84, 108, 140, 182, 222]
    assert areas("orientation", shape=2, scale=5)[:8] == [222, 225, 226, 225, 224, 225, 227, 224]
    assert areas("y", shape=2, scale=5)[16:24] == [220, 222, 228, 226, 228, 228, 232, 232]
    assert areas("x", shape=2, scale=5, y=31)[:8] == [222, 223, 224, 224, 225, 226, 226, 227]


def test_the_factors_of_a_number_are_in_the_order_of_dsprites(numbers):
    factors = factors_of(numbers)
    assert factors.dtype == np.int32
    np.testing.assert_array_equal(np.ravel_multi_index(tuple(factors.T), SIZES), numbers)
    np.testing.assert_array_equal(factors, np.stack(np.unravel_index(numbers, SIZES), -1))
    assert factors_of(np.array([1]))[0].tolist() == [0, 0, 0, 0, 1]
    assert factors_of(np.array([COUNT - 1]))[0].tolist() == [2, 5, 39, 31, 31] and COUNT == 737280


def test_every_picture_is_binary_and_whole(pictures):
    assert pictures.dtype == np.uint8 and pictures.shape[1:] == (64, 64, 1)
    assert np.unique(pictures).tolist() == [0, 1]
    assert pictures.sum((1, 2, 3)).min() >= 50
    edge = np.ones((64, 64, 1), bool)
    edge[1:-1, 1:-1] = False
    assert not pictures[:, edge].any()


@pytest.mark.parametrize("shape", range(3))
def test_x_moves_right_and_y_down_by_32_pixels_in_31_steps(shape):
    for axis, name in enumerate(["x", "y"]):
        path = centre(draw(varying(name, shape=shape, scale=3, orientation=7)))
        np.testing.assert_allclose(np.diff(path[:, axis]), 32 / 31, atol=0.3)
        np.testing.assert_allclose(path[-1] - path[0], 32 * np.eye(2)[axis], atol=1e-9)


@pytest.mark.parametrize("shape", range(3))
def test_the_area_grows_with_the_scale(shape):
    area = np.array(areas("scale", shape=shape, orientation=4, x=10, y=20))
    assert (np.diff(area) > 0).all()
    np.testing.assert_allclose(area / area[-1], np.linspace(0.5, 1, 6) ** 2, atol=0.04)


def test_the_first_and_the_last_orientation_are_the_same(numbers):
    first, last = factors_of(numbers), factors_of(numbers)
    first[:, 2], last[:, 2] = 0, 39
    np.testing.assert_array_equal(draw(first), draw(last))


def test_a_larger_orientation_turns_counterclockwise():
    hearts = centre(draw(varying("orientation", shape=2, scale=5, x=15, y=15)))
    # The mass of an upright heart lies above the place it is drawn at, and left of it after a quarter turn.
    right, down = (hearts + 0.5 - 16 - 32 * 15 / 31).T
    assert down[0] < -0.7 and abs(right[0]) < 0.1
    assert right[10] < -0.7 and abs(down[10]) < 0.1


def test_lazy_pictures_are_the_drawn_ones(pictures, numbers):
    lazy = Sprites(numbers)
    assert len(lazy) == len(numbers) and lazy.shape == pictures.shape and lazy.dtype == pictures.dtype
    np.testing.assert_array_equal(lazy[:], pictures)
    np.testing.assert_array_equal(lazy[5:900:7], pictures[5:900:7])
    chosen = np.array([7, -1, 7, 0])
    np.testing.assert_array_equal(lazy[chosen], pictures[chosen])
    np.testing.assert_array_equal(lazy[3], pictures[3])
    assert lazy[np.array([], int)].shape == (0, 64, 64, 1)


def test_threads_draw_the_same(pictures, numbers):
    lazy = Sprites(numbers)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: lazy[start : start + 100], range(0, len(numbers), 100)))
    np.testing.assert_array_equal(np.concatenate(parts), pictures)


def test_a_pickled_copy_is_small_and_the_same(numbers):
    lazy = Sprites(numbers)
    stored = pickle.dumps(lazy)
    copy = pickle.loads(stored)
    assert len(stored) < 4 * len(numbers) + 1000
    assert copy.sha256 == lazy.sha256
    np.testing.assert_array_equal(copy[:9], lazy[:9])


def test_the_digest_changes_with_the_order_and_not_with_its_type(numbers):
    digest = Sprites(numbers).sha256
    assert digest == Sprites(numbers.astype(np.uint32)).sha256 and len(digest) == 64
    assert len({digest, Sprites(numbers[::-1]).sha256, Sprites(numbers[:-1]).sha256}) == 3


def test_the_pictures_stay_the_same(pictures):
    digest = hashlib.sha256(np.packbits(pictures)).hexdigest()
    assert digest == "de902158dd4d1045325440c8943295155fab491fd56b0094a56342feea11b169"


@pytest.mark.parametrize("order", [[-1], [COUNT], [0.5], [[1]]])
def test_a_number_that_names_no_picture_is_refused(order):
    with pytest.raises(ValueError, match=r"0\.\.737279"):
        Sprites(np.array(order))


def test_a_factor_out_of_range_is_refused():
    with pytest.raises(ValueError, match="invalid entry"):
        draw(np.array([[0, 6, 0, 0, 0]]))
    with pytest.raises(ValueError, match="out of bounds"):
        factors_of(np.array([COUNT]))
