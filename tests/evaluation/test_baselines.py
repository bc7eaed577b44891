"""PCA and probabilistic PCA against eigenvalues and a dense normal density; MNIST's published constants."""

import numpy as np
import pytest
import scipy.stats

from vae_jax.data.load import open_dataset
from vae_jax.evaluation.baselines import fit_pca, independent_bernoulli, num_fitted, on_frequencies


@pytest.fixture(scope="module")
def images():
    return open_dataset({"name": "digits"}, None).splits["train"].images / 16


def test_error_is_the_sum_of_the_discarded_eigenvalues(images):
    pca = fit_pca(images, 10)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(images.reshape(len(images), -1).T, bias=True)))[::-1]
    error = np.square(pca.reconstruct(images) - images).sum((1, 2, 3)).mean()
    assert error == pytest.approx(eigenvalues[10:].sum(), rel=1e-6)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(10), atol=1e-10)
    unbiased = eigenvalues * len(images) / (len(images) - 1)
    assert pca.noise_variance == pytest.approx(unbiased[10:].mean())  # Tipping and Bishop 1999, equation 8


def test_density_is_the_normal_one_with_the_low_rank_covariance(images):
    pca = fit_pca(images, 4)
    scale = pca.variances - pca.noise_variance
    covariance = pca.components.T * scale @ pca.components + pca.noise_variance * np.eye(64)
    expected = -scipy.stats.multivariate_normal(pca.mean, covariance).logpdf(images[:20].reshape(20, -1))
    np.testing.assert_allclose(pca.neg_log_likelihood(images[:20]), expected, rtol=1e-8)


@pytest.mark.parametrize("latent", [1, 4])
def test_pictures_that_are_all_alike_have_figures_too(latent):
    alike = np.full((5, 4, 4, 1), 0.5, np.float32)
    pca = fit_pca(alike, latent)
    np.testing.assert_allclose(pca.reconstruct(alike), alike)
    assert np.isfinite(pca.neg_log_likelihood(alike)).all()


def test_randomized_solver_of_large_pictures_is_near_the_exact_one(monkeypatch, images):
    exact = fit_pca(images, 10)
    monkeypatch.setattr("vae_jax.evaluation.baselines._EXACT", 32)
    near = fit_pca(images, 10)
    assert (exact.solver, near.solver) == ("exact", "randomized")
    assert near.noise_variance == pytest.approx(exact.noise_variance, rel=1e-2)
    errors = [np.square(pca.reconstruct(images) - images).mean() for pca in (exact, near)]
    assert errors[0] <= errors[1] <= 1.01 * errors[0]
    np.testing.assert_allclose(near.neg_log_likelihood(images), exact.neg_log_likelihood(images), rtol=0.05, atol=1)


def test_fewer_pictures_than_pixels_leave_noise():
    few = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    pca = fit_pca(few, 50)
    assert len(pca.components) == 18  # one less than their rank
    assert np.isfinite(pca.neg_log_likelihood(few)).all()


@pytest.mark.parametrize(
    "size, shape, expected", [(60000, (28, 28, 1), 60000), (200000, (64, 64, 1), 61035), (200000, (64, 64, 3), 5000)]
)
def test_the_baselines_take_a_bounded_number_of_pictures(size, shape, expected):
    assert num_fitted(size, shape) == expected


def test_more_components_than_the_rank_are_cut(images):
    pca = fit_pca(images, 500)
    assert len(pca.components) < 64  # three pixels are always black, so the rank is 61
    assert np.isfinite(pca.neg_log_likelihood(images)).all()
    assert np.square(pca.reconstruct(images) - images).mean() < 1e-6


def test_independent_pixels(images):
    train, test = (images[:100] > 0.5).astype(float), (images[100:110] > 0.5).astype(float)
    on = (train.sum(0) + 1) / 102
    expected = -scipy.stats.bernoulli(on).logpmf(test).sum((1, 2, 3))
    np.testing.assert_allclose(independent_bernoulli(on_frequencies(train), test), expected)


@pytest.mark.long
def test_mnist_constants(data_dir):
    splits = open_dataset({"name": "mnist"}, data_dir).splits
    train = np.concatenate([splits["train"].images[:], splits["validation"].images[:]]) / 255
    pca = fit_pca(train, 32)
    assert pca.noise_variance == pytest.approx(0.017977, abs=2e-6)
    assert np.square(pca.reconstruct(train) - train).sum((1, 2, 3)).mean() == pytest.approx(13.5184, abs=1e-3)
    test = splits["test"].images[:] / 255
    assert np.square(pca.reconstruct(test) - test).sum((1, 2, 3)).mean() == pytest.approx(13.1933, abs=1e-3)
    assert -pca.neg_log_likelihood(test).mean() == pytest.approx(409.41, abs=0.02)
