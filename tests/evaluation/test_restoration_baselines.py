"""The linear optimum against closed forms and least squares, and the other methods against what they are."""

import numpy as np
import pytest

from vae_jax.evaluation.baselines import fit_pca
from vae_jax.evaluation.restoration_baselines import choose, fit_linear, median, project, wiener

RNG = np.random.default_rng(0)
IMAGES = (RNG.normal(size=(400, 5)) @ RNG.normal(size=(5, 12)) + 0.3).reshape(400, 3, 4, 1)


def test_wiener_shrinks_each_principal_component():
    found = wiener(IMAGES, 0.7)
    flat = IMAGES.reshape(400, -1)
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    expected = vectors @ np.diag(values / (values + 0.7**2)) @ vectors.T
    np.testing.assert_allclose(found.matrix, expected, atol=1e-10)
    np.testing.assert_allclose(found.restore(flat.mean(0)[None]), flat.mean(0)[None], atol=1e-10)


def test_fitted_to_many_draws_of_the_noise_it_becomes_the_wiener_filter():
    pairs = ((IMAGES, IMAGES + 0.7 * RNG.normal(size=IMAGES.shape)) for _ in range(500))
    np.testing.assert_allclose(fit_linear(pairs).matrix, wiener(IMAGES, 0.7).matrix, atol=0.01)


def test_linear_fit_is_least_squares_whatever_the_blocks():
    inputs = np.concatenate([IMAGES[..., 0].reshape(400, -1)[:, :7] ** 2, RNG.normal(size=(400, 2))], 1)
    design = np.concatenate([inputs, np.ones((400, 1))], 1)
    expected = design @ np.linalg.lstsq(design, IMAGES.reshape(400, -1), rcond=None)[0]
    for blocks in 1, 3, 400:
        pairs = zip(np.array_split(IMAGES, blocks), np.array_split(inputs, blocks), strict=True)
        np.testing.assert_allclose(fit_linear(pairs).restore(inputs), expected, atol=1e-8)


def test_linear_fit_ignores_inputs_that_say_nothing_new():
    inputs = RNG.normal(size=(400, 4))
    twice = np.concatenate([inputs, inputs, np.full((400, 1), 3.0)], 1)
    once, again = (fit_linear([(IMAGES, x)]).restore(x) for x in (inputs, twice))
    np.testing.assert_allclose(once, again, atol=1e-8)


def test_what_is_linear_is_found_exactly():
    inputs = RNG.normal(size=(50, 2, 2, 1))
    target = inputs.reshape(50, 4) @ RNG.normal(size=(4, 6)) + 2
    np.testing.assert_allclose(fit_linear([(target, inputs)]).restore(inputs), target, atol=1e-8)


@pytest.mark.parametrize("size", [3, 5])
def test_median_is_that_of_the_window_in_each_channel(size):
    images = RNG.uniform(size=(2, 6, 7, 3))
    reach = size // 2
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    np.testing.assert_allclose(median(images, size), np.median(windows, axis=(-2, -1)))


def test_projection_uses_the_first_components_only():
    pca = fit_pca(IMAGES, 4)
    for count in 1, 3:
        np.testing.assert_allclose(project(pca, count, IMAGES), fit_pca(IMAGES, count).reconstruct(IMAGES), atol=1e-8)


def test_the_option_chosen_is_best_after_clipping():
    images = np.ones((2, 2, 2, 1))
    restored = {1: images * 0.9, 2: images * 5, 3: images * 0.5}
    assert choose((1, 2, 3), restored.get, images) == 2
