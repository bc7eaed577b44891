"""Each penalty against its formula in NumPy's float64, and what it must leave to the batch, the key and the prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import regularizers
from vae_jax.regularizers import NONE, Coded

SHAPE, SIZE, LATENT = (3, 2, 1), 5, 3
RNG = np.random.default_rng(0)
INWARD, OUTWARD = RNG.normal(size=(6, LATENT)), RNG.normal(size=(LATENT, 6))
X = RNG.normal(size=(SIZE, *SHAPE))
THETA = {"kernel": OUTWARD, "deeper": {"bias": np.arange(3.0)}}


def encode(x):
    return jnp.tanh(x.reshape(len(x), -1) @ INWARD)


def decode(z):
    return jnp.sin(z @ OUTWARD).reshape(-1, *SHAPE)


def coded(x=X, of=encode, index=None, seed=0):
    index = jnp.arange(len(x)) if index is None else index
    return Coded(x, of(x), encode, decode, THETA, index, jax.random.key(seed))


def found(name, given, fields=None, **hypers):
    return getattr(regularizers, name)(**fields or {}).penalty(given, hypers)


def test_none_adds_nothing():
    loss = NONE.penalty(coded(), {})
    assert (loss.terms, loss.penalties) == ({}, {})
    np.testing.assert_array_equal(loss.per_example, np.zeros(SIZE))


def test_sparse_l1_is_the_sum_of_magnitudes_of_a_code_with_zeros():
    kept = np.asarray(regularizers.sparse_l1().code(np.array([-1.0, 2.0])))
    np.testing.assert_array_equal(kept, [0, 2])
    z = np.maximum(RNG.normal(size=(SIZE, LATENT)), 0)
    loss = found("sparse_l1", coded(of=lambda _: jnp.asarray(z)), sparsity_weight=0.3)
    np.testing.assert_allclose(loss.per_example, 0.3 * z.sum(1), rtol=1e-5)
    np.testing.assert_allclose(loss.terms["code_active"], (z > 0).mean(1), rtol=1e-6)


def test_sparse_kl_is_that_of_two_coins_for_each_unit():
    z = RNG.uniform(0.1, 0.9, size=(SIZE, LATENT))
    loss = found("sparse_kl", coded(of=lambda _: jnp.asarray(z)), sparsity_weight=2.0, activity=0.2)
    coins = [(np.array([0.2, 0.8]), np.array([mean, 1 - mean])) for mean in z.mean(0)]
    expected = 2 * sum((p * np.log(p / q)).sum() for p, q in coins)
    assert float(loss.penalties["sparsity"]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(loss.per_example, np.zeros(SIZE))
    as_wanted = found("sparse_kl", coded(of=lambda x: jnp.full((len(x), 2), 0.2)), sparsity_weight=2.0, activity=0.2)
    assert float(as_wanted.penalties["sparsity"]) == pytest.approx(0, abs=1e-6)
    saturated = found("sparse_kl", coded(of=lambda x: jnp.ones((len(x), 2))), sparsity_weight=2.0, activity=0.2)
    assert np.isfinite(saturated.penalties["sparsity"])


def test_contractive_is_the_norm_of_the_jacobian_of_each_example():
    # d tanh(x W) / dx = diag(1 - z^2) W', so the norm is sum_d (1 - z_d^2)^2 |W_d|^2.
    z = np.tanh(X.reshape(SIZE, -1) @ INWARD)
    expected = ((1 - z**2) ** 2 * (INWARD**2).sum(0)).sum(1)
    loss = found("contractive", coded(), contraction_weight=0.5)
    np.testing.assert_allclose(loss.per_example, 0.5 * expected, rtol=1e-4)
    np.testing.assert_allclose(loss.terms["contraction"], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["rae", "rae_l2", "rae_gp"])
def test_rae_has_half_the_squares_of_the_code(name):
    energy = 0.5 * (np.tanh(X.reshape(SIZE, -1) @ INWARD) ** 2).sum(1)
    loss = found(name, coded(), code_weight=0.7, decoder_weight=0.0, gradient_weight=0.0)
    np.testing.assert_allclose(loss.per_example, 0.7 * energy, rtol=1e-5)
    np.testing.assert_allclose(loss.terms["code_energy"], energy, rtol=1e-5)


def test_rae_l2_has_the_squares_of_all_parameters_of_the_decoder():
    loss = found("rae_l2", coded(), code_weight=0.7, decoder_weight=0.1)
    assert float(loss.penalties["decoder"]) == pytest.approx(0.1 * ((OUTWARD**2).sum() + 5), rel=1e-5)


def test_rae_gp_is_on_the_mean_the_norm_of_the_jacobian_of_the_decoder():
    # The Jacobian is diag(cos(z W)) W'.
    z = np.tanh(X.reshape(SIZE, -1) @ INWARD)
    expected = (np.cos(z @ OUTWARD) ** 2 * (OUTWARD**2).sum(0)).sum(1)

    @jax.jit
    @jax.vmap
    def norms(seed):
        return found("rae_gp", coded(seed=seed), code_weight=0.0, gradient_weight=1.0).per_example

    values = np.asarray(norms(jnp.arange(4000)))
    np.testing.assert_allclose(values.mean(0), expected, atol=5 * values.std(0).max() / 4000**0.5)
    assert all(len(np.unique(column.round(3))) <= 2 ** (LATENT - 1) for column in values.T)  # u and -u give the same


def test_rae_gp_of_an_example_does_not_depend_on_its_batch():
    whole = found("rae_gp", coded(), code_weight=0.1, gradient_weight=1.0).per_example
    alone = found("rae_gp", coded(X[3:4], index=jnp.array([3])), code_weight=0.1, gradient_weight=1.0).per_example
    assert float(alone[0]) == pytest.approx(float(whole[3]), rel=1e-5)


PRIORS = [("wae_mmd", {"kernel": "imq"}), ("wae_mmd", {"kernel": "rbf"}), ("sliced_wasserstein", {})]


@pytest.mark.parametrize("name, fields", PRIORS)
def test_codes_of_the_prior_cost_least(name, fields):
    normal = jax.random.normal(jax.random.key(5), (1000, LATENT))

    @jax.jit
    def cost(z):
        loss = found(name, coded(np.zeros((1000, 1)), lambda _: z), fields, prior_weight=3.0)
        return *loss.penalties.values(), loss.per_example

    other = {"shifted": normal + 1, "wide": 2 * normal, "narrow": 0.3 * normal, "signs": jnp.sign(normal)}
    costs = {kind: float(cost(z)[0]) for kind, z in {"normal": normal, **other}.items()}
    assert all(costs[kind] > 5 * abs(costs["normal"]) for kind in other), costs
    np.testing.assert_array_equal(cost(normal)[1], np.zeros(1000))


def test_the_shift_of_all_codes_costs_its_square_in_the_sliced_distance():
    given = coded(np.zeros((50, 1)), lambda x: jnp.full((len(x), LATENT), 7.0))
    loss = found("sliced_wasserstein", given, {"num_directions": 2000}, prior_weight=2.0)
    # Along a direction: the variance of N(0, 1), and the square of the shift, 49 in the mean over directions.
    assert float(loss.penalties["sliced"]) == pytest.approx(2 * 50, rel=0.15)


def test_only_those_with_a_prior_say_so():
    names = ["sparse_l1", "sparse_kl", "contractive", "rae", "rae_l2", "rae_gp", "wae_mmd", "sliced_wasserstein"]
    assert [n for n in names if getattr(regularizers, n)().has_prior] == ["wae_mmd", "sliced_wasserstein"]
