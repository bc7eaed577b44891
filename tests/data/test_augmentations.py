"""The moved picture against SciPy's; and that training alone sees it, for as long as it is asked to."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from vae_jax.data.augmentations import affine
from vae_jax.data.feed import make_batch_of

SHAPE = (9, 7, 2)
MOVED = {"name": "affine", "scale": 0.3, "epochs": 2}
CONFIG = {"seed": 0, "pixels": "unit", "corruption": None, "augmentation": MOVED}


def keys_of(index):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.asarray(index))


def pictures(count=5):
    return np.random.default_rng(0).uniform(0.1, 0.9, (count, *SHAPE)).astype(np.float32)


def test_it_is_the_affine_map_of_scipy():
    images, index = pictures(), np.arange(5)
    found = np.asarray(affine(keys_of(index), images, 0, scale=0.3))
    assert found.shape == images.shape
    middle = (np.array(SHAPE[:2]) - 1) / 2
    for key, image, moved in zip(keys_of(index), images, found, strict=True):
        drawn = np.asarray(jax.random.uniform(key, (2, 3), minval=-0.3, maxval=0.3), np.float64)
        assert np.abs(drawn).max() > 0.1
        matrix, shift = np.eye(2) + drawn[:, :2], drawn[:, 2] * 4
        for channel in range(2):
            expected = scipy.ndimage.affine_transform(
                image[..., channel].astype(np.float64), matrix, middle + shift - matrix @ middle, order=1,
                mode="grid-constant",
            )  # fmt: skip
            np.testing.assert_allclose(moved[..., channel], expected, atol=1e-5)


def test_a_picture_is_moved_alike_in_any_batch_and_not_at_all_by_nothing():
    images = pictures()
    whole = affine(keys_of(range(5)), images, 0)
    np.testing.assert_allclose(affine(keys_of([3]), images[3:4], 0)[0], whole[3], atol=1e-6)
    np.testing.assert_allclose(affine(keys_of(range(5)), images, 0, scale=1e-7), images, atol=1e-5)


def test_only_training_sees_it_and_only_in_the_first_epochs():
    images = pictures()
    stored = {"image": images, "label": np.zeros(5, int), "index": np.arange(5)}
    batch_of = jax.jit(make_batch_of(CONFIG, "train", 1), static_argnums=2)
    seen = [batch_of(stored, epoch, True) for epoch in range(3)]
    for batch in seen[:2]:
        assert np.abs(batch["image"] - images).max() > 0.1
        np.testing.assert_array_equal(batch["image"], batch["input"])
    assert np.abs(seen[0]["image"] - seen[1]["image"]).max() > 0.1
    np.testing.assert_array_equal(seen[2]["image"], images)
    np.testing.assert_array_equal(batch_of(stored, 0, False)["image"], images)
    always = CONFIG | {"augmentation": MOVED | {"epochs": None}}
    later = make_batch_of(always, "train", 1)(stored, 2, True)
    assert np.abs(later["image"] - images).max() > 0.1
