"""PCA and probabilistic PCA against eigenvalues and a dense normal density; MNIST's published constants."""

import numpy as np
import pytest
import scipy.stats

from vae_jax.data.sources import digits, mnist
from vae_jax.evaluation.baselines import fit_pca, independent_bernoulli


@pytest.fixture(scope="module")
def images():
    return digits(None).splits["train"].images / 16


def test_error_is_the_sum_of_the_discarded_eigenvalues(images):
    pca = fit_pca(images, 10)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(images.reshape(len(images), -1).T, bias=True)))[::-1]
    error = np.square(pca.reconstruct(images) - images).sum((1, 2, 3)).mean()
    assert error == pytest.approx(eigenvalues[10:].sum(), rel=1e-6)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(10), atol=1e-10)


def test_density_is_the_normal_one_with_the_low_rank_covariance(images):
    pca = fit_pca(images, 4)
    scale = pca.fitted.explained_variance_ - pca.noise_variance
    covariance = pca.components.T * scale @ pca.components + pca.noise_variance * np.eye(64)
    expected = -scipy.stats.multivariate_normal(pca.mean, covariance).logpdf(images[:20].reshape(20, -1))
    np.testing.assert_allclose(pca.neg_log_likelihood(images[:20]), expected, rtol=1e-8)


def test_more_components_than_the_rank_are_cut(images):
    pca = fit_pca(images, 500)
    assert len(pca.components) < 64  # three pixels are always black, so the rank is 61
    assert np.isfinite(pca.neg_log_likelihood(images)).all()
    assert np.square(pca.reconstruct(images) - images).mean() < 1e-6


def test_independent_pixels(images):
    train, test = (images[:100] > 0.5).astype(float), (images[100:110] > 0.5).astype(float)
    on = (train.sum(0) + 1) / 102
    expected = -scipy.stats.bernoulli(on).logpmf(test).sum((1, 2, 3))
    np.testing.assert_allclose(independent_bernoulli(train, test), expected)


def test_mnist_constants(data_dir):
    splits = mnist(data_dir).splits
    train = np.concatenate([splits["train"].images, splits["validation"].images]) / 255
    pca = fit_pca(train, 32)
    assert pca.noise_variance == pytest.approx(0.017977, abs=2e-6)
    assert np.square(pca.reconstruct(train) - train).sum((1, 2, 3)).mean() == pytest.approx(13.5184, abs=1e-3)
    test = splits["test"].images / 255
    assert np.square(pca.reconstruct(test) - test).sum((1, 2, 3)).mean() == pytest.approx(13.1933, abs=1e-3)
    assert -pca.neg_log_likelihood(test).mean() == pytest.approx(409.41, abs=0.02)
