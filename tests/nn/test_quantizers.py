"""Entries are the nearest, gradients go where the equations say, codebooks follow averages, and no code stays dead."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.nn import quantizers
from vae_jax.precision import with_products

DIM, CODES = 3, 5
HYPERS = {"commitment": jnp.float32(0.3)}
_books = {"vq": 1, "vq_ema": 1, "residual_vq": 2}
every_book = pytest.mark.parametrize("name", _books)


def make(name, codes=CODES, seed=0, decay=0.8, **fields):
    if name == "residual_vq":
        fields.setdefault("depth", _books[name])
    return getattr(quantizers, name)(DIM, nnx.Rngs(seed), codes=codes, decay=decay, **fields)


def alive(quantizer):
    """Let all codes have an even share, so that none is redrawn."""
    for book in quantizer.books.values():
        codes = book.codes()
        book.share[...] = jnp.full(len(codes), 1 / len(codes))
        if hasattr(book, "total"):
            book.total[...] = codes / len(codes)
    return quantizer


def numbers(count=6, positions=4):
    return jnp.asarray(np.random.default_rng(7).normal(size=(count, positions, DIM)), jnp.float32)


def train(quantizer, e, steps):
    """Return it after some steps on one batch."""
    graph, state = nnx.split(quantizer)

    def step(i, state):
        quantizer = nnx.merge(graph, state)
        quantizer.follow(e, quantizer(e).index, jax.random.key(i))
        return nnx.state(quantizer)

    return nnx.merge(graph, jax.jit(lambda state: jax.lax.fori_loop(0, steps, step, state))(state))


def split(quantizer):
    graph, params, stats = nnx.split(quantizer, nnx.Param, ...)
    return lambda params: nnx.merge(graph, params, stats), params


@every_book
def test_entry_is_the_nearest_of_each_codebook_to_what_is_left(name):
    quantizer, e = make(name), numbers()
    result, left = quantizer(e), np.asarray(e, np.float64)
    for i, book in enumerate(quantizer.books.values()):
        apart = np.square(left[:, :, None] - np.asarray(book.codes())).sum(-1)
        np.testing.assert_array_equal(result.index[..., i], apart.argmin(-1))
        left -= np.asarray(book.codes())[apart.argmin(-1)]
    np.testing.assert_allclose(result.z, e - left, atol=1e-5)
    np.testing.assert_array_equal(result.z, quantizer.entries(result.index))


@every_book
def test_gradient_passes_straight_through_and_not_to_the_codes(name):
    quantizer, e = make(name), numbers()
    weights, (merge, params) = np.random.default_rng(1).normal(size=e.shape), split(quantizer)
    slopes = jax.jit(jax.grad(lambda e, params: (weights * merge(params)(e).z).sum(), (0, 1)))
    of_e, of_params = slopes(e, params)
    np.testing.assert_allclose(of_e, weights, atol=1e-6)
    for leaf in jax.tree.leaves(of_params):
        np.testing.assert_array_equal(leaf, 0)


def test_losses_pull_codes_to_outputs_and_outputs_to_codes():
    quantizer, e = make("vq"), numbers()
    result, merge_and_params = quantizer(e), split(quantizer)
    gap = e - result.z
    np.testing.assert_allclose(result.codebook, np.square(gap).sum((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(result.commitment, result.codebook, rtol=1e-6)

    def loss(e, params):
        quantizer = merge_and_params[0](params)
        return quantizer.loss(quantizer(e), HYPERS).sum()

    to_e, to_params = jax.grad(loss, (0, 1))(e, merge_and_params[1])
    np.testing.assert_allclose(to_e, 2 * 0.3 * gap, atol=1e-5)
    expected = np.zeros((CODES, DIM))
    np.add.at(expected, np.asarray(result.index[..., 0]), -2 * np.asarray(gap))
    np.testing.assert_allclose(jax.tree.leaves(to_params)[0], expected, atol=1e-5)


def test_each_residual_codebook_has_a_commitment_of_its_own():
    quantizer, e = make("residual_vq"), numbers()
    result = quantizer(e)
    first = e - quantizer.books["book_0"].codes()[result.index[..., 0]]
    np.testing.assert_allclose(
        result.commitment, np.square(first).sum((1, 2)) + np.square(e - result.z).sum((1, 2)), rtol=1e-5
    )
    gradient = jax.grad(lambda e: quantizer.loss(quantizer(e), HYPERS).sum())(e)
    np.testing.assert_allclose(gradient, 2 * 0.3 * (first + e - result.z), atol=1e-5)
    np.testing.assert_array_equal(result.codebook, 0)


def test_averages_follow_their_equations():
    quantizer, e = alive(make("vq_ema", decay=0.8)), numbers()
    book = quantizer.books["book_0"]
    share, total = np.full(CODES, 1 / CODES), np.asarray(book.codes(), np.float64) / CODES
    for _ in range(3):
        index = np.asarray(quantizer(e).index)
        flat = np.asarray(e, np.float64).reshape(-1, DIM)
        chosen = np.eye(CODES)[index.reshape(-1)]
        share = 0.8 * share + 0.2 * chosen.mean(0)
        total = 0.8 * total + 0.2 * chosen.T @ flat / len(flat)
        quantizer.follow(e, index, jax.random.key(0))
        np.testing.assert_allclose(book.share[...], share, rtol=1e-5)
        np.testing.assert_allclose(book.codes(), total / share[:, None], rtol=1e-4, atol=1e-6)


def test_averages_of_one_batch_settle_where_k_means_does():
    e = numbers(50)
    quantizer = train(make("vq_ema", codes=4), e, 400)
    index, flat = np.asarray(quantizer(e).index).reshape(-1), np.asarray(e).reshape(-1, DIM)
    means = [flat[index == code].mean(0) for code in range(4)]
    np.testing.assert_allclose(quantizer.entries(np.arange(4)[:, None]), means, atol=1e-4)


@every_book
def test_first_step_draws_all_codes_from_its_batch(name):
    quantizer, e = make(name), numbers()
    result = quantizer(e)
    first = quantizer.books["book_0"].codes()[result.index[..., 0]]
    inputs = [e, e - first]
    quantizer.follow(e, result.index, jax.random.key(3))
    for book, rows in zip(quantizer.books.values(), inputs, strict=False):
        codes, rows = np.asarray(book.codes()), np.asarray(rows).reshape(-1, DIM)
        nearest = np.abs(codes[:, None] - rows).max(-1)
        assert nearest.min(1).max() < 1e-5
        assert len(set(nearest.argmin(1))) == CODES  # no row twice
        np.testing.assert_allclose(book.share[...], 1 / CODES)


@pytest.mark.parametrize("name", ["vq", "vq_ema"])
def test_only_dead_codes_are_redrawn_and_the_key_tells_from_what(name):
    def after(key):
        quantizer = alive(make(name))
        book, e = quantizer.books["book_0"], numbers()
        share = book.share[...].at[2].set(0.01 / CODES)
        if name == "vq_ema":
            book.total[...] = book.codes() * share[:, None]
        book.share[...] = share
        quantizer.follow(e, quantizer(e).index, key)
        return np.asarray(book.codes()), np.asarray(book.share[...])

    before = np.asarray(alive(make(name)).books["book_0"].codes())
    (codes, share), (same, _), (other, _) = (after(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(codes, same)
    assert np.abs(codes[2] - other[2]).max() > 1e-3
    assert np.abs(codes[2] - np.asarray(numbers()).reshape(-1, DIM)).max(1).min() < 1e-5
    assert share[2] == pytest.approx(1 / CODES)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(codes[others], other[others])
    if name == "vq":
        np.testing.assert_array_equal(codes[others], before[others])


@every_book
def test_parts_of_a_batch_average_to_its_statistics(name):
    e = numbers()

    def after(e):
        quantizer = alive(make(name))
        quantizer.follow(e, quantizer(e).index, jax.random.key(0))
        return jax.tree.leaves(nnx.state(quantizer, quantizers.Statistic))

    for whole, *halves in zip(after(e), after(e[:3]), after(e[3:]), strict=True):
        np.testing.assert_allclose(whole, sum(halves) / 2, rtol=1e-5, atol=1e-7)


def test_unused_code_comes_back_into_use():
    quantizer, e = alive(make("vq_ema")), numbers(50)
    book = quantizer.books["book_0"]
    book.total[...] = book.total[...].at[1].set(100.0)  # far from everything
    assert 1 not in np.asarray(quantizer(e).index)
    assert 1 in np.asarray(train(quantizer, e, 12)(e).index)  # for 0.8^11 < 0.1


def test_residual_error_falls_with_depth_and_one_codebook_is_vq():
    e, errors = numbers(50), []
    for depth in (1, 2, 3):
        quantizer = train(make("residual_vq", depth=depth), e, 60)
        errors.append(float(jnp.square(e - quantizer(e).z).mean()))
    assert errors[0] > 1.1 * errors[1] > 1.1**2 * errors[2]
    one, plain = make("residual_vq", depth=1), make("vq_ema")
    for a, b in zip(one(e), plain(e), strict=True):
        np.testing.assert_array_equal(a, b)


LEVELS = (4, 3, 2)


def test_finite_index_numbers_every_point_of_the_grid_once():
    quantizer = quantizers.fsq(DIM, nnx.Rngs(0), levels=LEVELS)
    grid = np.array(list(itertools.product(*(np.linspace(-1, 1, n) for n in LEVELS))))
    assert (quantizer.size, quantizer.dim, quantizer.depth) == (len(grid), len(LEVELS), 1)
    np.testing.assert_allclose(quantizer.entries(np.arange(len(grid))[:, None]), grid, atol=1e-6)
    result = quantizer(jnp.arctanh(jnp.asarray(0.99 * grid))[None])
    np.testing.assert_array_equal(result.index[0, :, 0], np.arange(len(grid)))
    np.testing.assert_allclose(result.z[0], grid, atol=1e-6)


def test_finite_values_are_the_nearest_levels_with_the_gradient_of_tanh():
    quantizer, e = quantizers.fsq(DIM, nnx.Rngs(0), levels=LEVELS), 3 * numbers(50)
    result = quantizer(e)
    for d, count in enumerate(LEVELS):
        apart = np.abs(np.tanh(np.asarray(e))[..., d, None] - np.linspace(-1, 1, count))
        np.testing.assert_allclose(result.z[..., d], np.linspace(-1, 1, count)[apart.argmin(-1)], atol=1e-6)
    np.testing.assert_allclose(quantizer.entries(result.index), result.z, atol=1e-6)
    gradient = jax.grad(lambda e: quantizer(e).z.sum())(e)
    np.testing.assert_allclose(gradient, 1 - np.tanh(e) ** 2, atol=1e-5)
    np.testing.assert_array_equal(quantizer.loss(result, {}), np.zeros(50))


@every_book
def test_short_products_of_the_rest_of_the_model_do_not_reach_a_codebook(name):
    """Entries far from 0 lie nearer to each other than bfloat16 tells numbers of their size apart."""
    quantizer, e = alive(make(name)), numbers() + 30

    def step(e):
        changed = nnx.clone(quantizer)
        index = changed(e).index
        changed.follow(e, index, jax.random.key(0))
        return index, nnx.state(changed)

    for book in quantizer.books.values():
        if hasattr(book, "total"):
            book.total[...] = book.total[...] + 30 * book.share[...][:, None]
        else:
            book.jump[...] = book.jump[...] + 30
    for plain, short in zip(*map(jax.tree.leaves, (step(e), with_products("bf16", step)(e))), strict=True):
        np.testing.assert_array_equal(plain, short)
