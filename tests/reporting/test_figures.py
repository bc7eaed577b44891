"""Pictures are where they should be in the grid, and PNG files can be opened."""

import numpy as np
import pytest
from PIL import Image

from vae_jax.reporting.figures import save_curves, save_grid, save_latent_map, tile

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_tile_places_pictures_row_by_row():
    images = np.arange(5.0)[:, None, None, None] * np.ones((5, 2, 3, 1)) / 10
    sheet = tile(images, columns=3)
    assert sheet.shape == (2 * 3 + 1, 3 * 4 + 1, 1)
    np.testing.assert_allclose(sheet[1:3, 1:4, 0], 0.0)
    np.testing.assert_allclose(sheet[1:3, 9:12, 0], 0.2)
    np.testing.assert_allclose(sheet[4:6, 5:8, 0], 0.4)
    np.testing.assert_allclose(sheet[4:6, 9:12, 0], 0.5)  # empty place


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_grid_is_enlarged_by_a_whole_factor_and_clipped(tmp_path, channels):
    images = np.full((4, 5, 5, channels), 2.0)
    save_grid(tmp_path / "grid.png", images, columns=2, min_width=100)
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (13 * 8, 13 * 8)
        assert np.asarray(picture).max() == 255


def test_plots_are_written(tmp_path):
    rows = [{"step": s, "split": split, "loss": 1 / s} for s in (1, 2, 3) for split in ("train", "validation")]
    save_curves(tmp_path / "loss.png", rows, " nats")
    codes = np.random.default_rng(0).normal(size=(50, 2))
    save_latent_map(tmp_path / "map.png", codes, np.arange(50) % 10, ["z[0]", "z[1]"])
    save_latent_map(tmp_path / "plain.png", codes, None, ["z[0]", "z[1]"])
    save_latent_map(tmp_path / "many.png", codes, np.arange(50) * 30, ["z[0]", "z[1]"])
    for name in ("loss", "map", "plain", "many"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.asarray(picture).std() > 5
