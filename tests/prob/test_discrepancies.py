"""Discrepancies between samples against their definitions in float64, and what they must be on known distributions."""

import jax
import numpy as np
import pytest
import scipy.optimize

from vae_jax.prob.discrepancies import mmd, sliced_wasserstein

RNG = np.random.default_rng(0)
KERNELS = {"imq": lambda apart, c: c / (c + apart), "rbf": lambda apart, c: np.exp(-apart / c)}


MMD, SLICED = jax.jit(mmd, static_argnums=2), jax.jit(sliced_wasserstein)


def kernel_of(kernel, a, b):
    scales = (0.1, 0.2, 0.5, 1, 2, 5, 10)
    return sum(KERNELS[kernel](np.sum((a - b) ** 2), 2 * len(a) * s) for s in scales)


def mmd_by_pairs(kernel, x, y):
    pairs_x = [kernel_of(kernel, a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    pairs_y = [kernel_of(kernel, a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    return np.mean(pairs_x) + np.mean(pairs_y) - 2 * np.mean([kernel_of(kernel, a, b) for a in x for b in y])


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_its_sum_over_pairs_even_far_from_the_origin(kernel):
    x, y = RNG.normal(size=(6, 3)) + 100, 1.5 * RNG.normal(size=(9, 3)) + 100.5
    assert float(MMD(x, y, kernel)) == pytest.approx(mmd_by_pairs(kernel, x, y), abs=2e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_unbiased_and_grows_with_a_shift(kernel):
    x, y = RNG.normal(size=(2, 4000, 5, 2))
    estimates = jax.jit(jax.vmap(lambda x, y: mmd(x, y, kernel)))
    same, near, far = (np.asarray(estimates(x, y + shift), np.float64) for shift in (0.0, 1.0, 2.0))
    assert abs(same.mean()) < 4 * same.std() / len(same) ** 0.5
    assert (same < 0).mean() > 0.3
    assert 10 * same.std() / len(same) ** 0.5 < near.mean() < far.mean()


def test_mmd_of_rbf_has_the_closed_form_of_two_normals():
    # E exp(-|x - y|^2 / c) of x - y ~ N(m, v I) is (1 + 2 v / c)^(-D/2) exp(-|m|^2 / (c + 2 v)).
    shift = np.array([0.5, -1.0, 0.3])
    expected = 0
    for c in 6 * np.array([0.1, 0.2, 0.5, 1, 2, 5, 10]):
        expected += 2 * (1 + 4 / c) ** -1.5 * (1 - np.exp(-shift @ shift / (c + 4)))
    x, y = (v - v.mean(0) for v in RNG.normal(size=(2, 1000, 3)))  # the means are most of the noise
    assert float(MMD(x, y + shift, "rbf")) == pytest.approx(expected, rel=0.1)


def test_mmd_refuses_an_unknown_kernel():
    with pytest.raises(ValueError, match="kernel='laplace' is unknown; expected rbf or imq"):
        mmd(np.ones((2, 1)), np.ones((2, 1)), "laplace")


def test_sliced_wasserstein_is_the_mean_of_the_distances_of_sorted_projections():
    x, y, directions = RNG.normal(size=(50, 3)), 2 * RNG.normal(size=(50, 3)), RNG.normal(size=(7, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # The optimal plan between points of a line keeps their order, which SciPy finds as an assignment.
    costs = []
    for direction in directions:
        cost = ((x @ direction)[:, None] - (y @ direction)) ** 2
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        costs.append(cost[rows, columns].mean())
    assert float(SLICED(x, y, directions)) == pytest.approx(np.mean(costs), rel=1e-5)
    assert float(SLICED(x, x[::-1], directions)) == pytest.approx(0, abs=1e-10)


def test_sliced_wasserstein_of_a_shift_is_its_square_over_the_dimensions():
    shift, x = np.array([1.0, -2.0, 0.5]), RNG.normal(size=(20, 3))
    directions = RNG.normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    each = (directions @ shift) ** 2
    assert float(SLICED(x, x + shift, directions)) == pytest.approx(each.mean(), rel=1e-4)
    assert each.mean() == pytest.approx(shift @ shift / 3, rel=0.03)
