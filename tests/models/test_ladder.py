"""The ladder VAE: its parts against quadrature and sampling, p(x) of a tiny one by brute force, and bits back."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.common import batch_of
from tests.variants import load
from vae_jax.errors import ConfigError
from vae_jax.prob.distributions import Normal, kl, product
from vae_jax.tasks.compression import bits_back
from vae_jax.trained import make_model
from vae_jax.types import Spec

SHAPE = (2, 4, 1)
ALL = np.stack(np.meshgrid(*[[0, 1]] * 8), -1).reshape(-1, *SHAPE).astype(np.float32)  # every picture there is
NUMBERS = [0, 15, 60, 105, 195, 240, 255]
SEEN = ALL[NUMBERS]
RNG = np.random.default_rng(0)
HYPERS = {"beta": np.float32(1), "kl_warmup_steps": np.float32(0), "free_bits": np.float32(0)}


def ladder(above=(1, 1), latent=3, num_samples=1, condition=False):
    fields = {"above": above, "latent": latent, "num_samples": num_samples, "condition": condition}
    fields |= {"width": 5, "encoder__hidden": (6,)}
    config = load("zoo_ladder.py:variant=two_layers", **{f"model__{name}": value for name, value in fields.items()})
    return make_model(config, Spec(SHAPE, 3, np.full(SHAPE, 0.5, np.float32), "binary"))


@functools.cache
def shaken(*args, **fields):
    """Return a model, by default of three layers of one latent, random parameters that make all carry much, stats."""
    model, rng = ladder(*args, **fields), np.random.default_rng(23)
    params, stats = jax.eval_shape(model.init, jax.random.key(0))
    return model, jax.tree.map(lambda leaf: np.float32(rng.normal(0, 0.5, leaf.shape)), params), stats


def test_product_is_the_renormalised_product_of_the_densities():
    z, a, b = np.linspace(-12, 12, 20_001), Normal(*np.array([[0.7], [0.4]])), Normal(*np.array([[-1.1], [1.3]]))
    with jax.enable_x64(True):
        log_probs = jax.jit(lambda z: [q.log_prob(z[:, None]) for q in (a, b, product(a, b))])(z)
    of_a, of_b, found = np.exp(log_probs)
    np.testing.assert_allclose(found, of_a * of_b / np.trapezoid(of_a * of_b, z), atol=1e-9)


def test_rates_of_the_layers_are_the_mean_log_ratios_of_draws_in_float64():
    k, (model, params, stats) = 10_000, shaken()

    @jax.jit
    def log_ratios_and_divergences(params, batch, noise):
        many, drawn, found = jax.tree.map(lambda leaf: jnp.repeat(leaf, k, 0), batch), (), []
        for part in noise:
            q = model.coding.posterior(params, stats, many, drawn)
            p = model.coding.prior(params, stats, many["label"], drawn)
            drawn += (q.at(part),)
            found.append((q.log_prob(drawn[-1]) - p.log_prob(drawn[-1]), kl(q, p)))
        return jnp.array(found).reshape(3, 2, -1, k)

    with jax.enable_x64(True):
        params, batch = jax.tree.map(np.float64, params), batch_of(SEEN.astype(np.float64), classes=3)
        values = jax.jit(ladder(num_samples=k).evaluate)(params, stats, batch, jax.random.key(2), HYPERS)
        found = log_ratios_and_divergences(params, batch, RNG.normal(size=(3, k * len(SEEN), 1)))
    rates, found = jax.tree.map(np.asarray, (values, found))
    for i, (ratio, exact) in zip((3, 2, 1), found, strict=True):
        error = (ratio.std(1) + exact.std(1)) / k**0.5
        assert np.all(np.abs(rates[f"rate_{i}_nats"] - ratio.mean(1)) < 5 * error)
    np.testing.assert_allclose(sum(rates[f"rate_{i}_nats"] for i in (1, 2, 3)), rates["rate_nats"], rtol=1e-12)


def exact_log_likelihood(model, params, stats):
    """Return log p(x) of ALL, by quadrature over a layer after another."""
    grid = np.linspace(-9, 9, 1801, dtype=np.float32)
    label = np.zeros(len(grid), int)

    @jax.jit
    def log_densities_and_picture():
        higher, given = (), []
        for _ in model.coding.sizes:
            p = model.coding.prior(params, stats, label, higher)
            given.append(Normal(p.loc, p.scale).log_prob(grid[:, None, None]))  # [z, the one above]
            higher += (grid[:, None],)
        return given, jax.nn.sigmoid(model.coding.maps(params, stats, label, higher))

    (top, *others), on = log_densities_and_picture()
    density = np.exp(top[:, 0], dtype=np.float64)
    for given in others:
        density = np.trapezoid(np.exp(given, dtype=np.float64) * density, grid, axis=1)
    on, flat = np.reshape(on, (len(grid), -1)), ALL.reshape(len(ALL), 1, -1)
    masses = np.where(flat == 1, on, 1 - on).prod(-1)
    return np.log(np.trapezoid(masses * density, grid, axis=1))


def test_importance_weights_average_to_the_exact_likelihood_and_bounds_rise_to_it():
    k, (model, params, stats) = 20_000, shaken()
    params = jax.tree.map(np.copy, params)
    for estimate in params["posterior"]["estimate"].values():  # wider than learned: else the weights vary without bound
        estimate["out"]["bias"] += np.float32([0, 0.5])
    exact = exact_log_likelihood(model, params, stats)
    assert np.exp(exact).sum() == pytest.approx(1, abs=1e-4)  # over all pictures there are
    exact, batch = exact[NUMBERS], batch_of(SEEN, classes=3)
    weights = jax.jit(lambda: model.log_weights(params, stats, batch, jax.random.key(4), k))()
    log_ratio = np.asarray(weights, np.float64) - exact  # of which the mean of the exponential is 1
    ratio = np.exp(log_ratio)
    assert np.all(np.abs(ratio.mean(0) - 1) < 5 * ratio.std(0) / k**0.5)
    of_eight = np.log(ratio.reshape(-1, 8, len(SEEN)).mean(1)).mean(0)
    assert np.all(log_ratio.mean(0) < of_eight) and np.all(of_eight < 0)


def test_free_bits_lift_the_mean_rate_of_each_layer_to_the_minimum():
    (model, params, stats), batch, key = shaken(), batch_of(SEEN, classes=3), jax.random.key(6)
    values = jax.jit(model.evaluate)(params, stats, batch, key, HYPERS)
    rates = np.array([np.mean(values[f"rate_{i}_nats"]) for i in (1, 2, 3)])
    least = np.sort(rates)[:2].mean()  # one layer is below it
    hypers = {"beta": np.float32(3), "kl_warmup_steps": np.float32(10), "free_bits": np.float32(least)}
    loss, (_, metrics) = jax.jit(model.loss)(params, stats, batch, key, hypers, 4)  # half warm
    distortion = np.mean(values["distortion_nats"])
    assert float(loss) == pytest.approx(float(distortion + 1.5 * np.maximum(rates, least).sum()), rel=1e-5)
    assert float(metrics["penalty_free_bits"]) == pytest.approx(1.5 * (least - rates.min()), rel=1e-3)


def test_a_layer_below_its_free_bits_is_not_pushed_down():
    (model, params, stats), batch, key = shaken(), batch_of(SEEN, classes=3), jax.random.key(7)

    @jax.jit
    def gradient(beta, free_bits):
        hypers = HYPERS | {"beta": beta, "free_bits": free_bits}
        return jax.grad(model.loss, has_aux=True)(params, stats, batch, key, hypers, 0)[0]

    free, unweighted, plain = gradient(1.0, 100.0), gradient(0.0, 0.0), gradient(1.0, 0.0)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), free, unweighted)
    assert max(map(np.max, jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b), free, plain)))) > 0.01


def test_codes_hold_the_means_of_the_layers_the_lowest_first():
    (model, params, stats), batch = shaken((2, 1), 6), batch_of(SEEN, classes=3)
    assert model.coding.sizes == (1, 2, 3)

    @jax.jit
    def codes_and_pictures():
        means, code = (), model.encode(params, stats, batch)
        for _ in model.coding.sizes:
            means += (model.coding.posterior(params, stats, batch, means).loc,)
        pictures = jax.nn.sigmoid(model.coding.maps(params, stats, batch["label"], means)[..., 0])
        decoded = model.decode(params, stats, code, batch["label"])
        return (code, jnp.concatenate(means[::-1], -1)), (decoded, pictures)

    codes, pictures = codes_and_pictures()
    np.testing.assert_allclose(*codes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*pictures, rtol=1e-5)


def test_draws_of_a_code_spread_as_the_posteriors_do():
    count, (model, params, stats) = 4000, shaken()
    batch = batch_of(np.repeat(SEEN[:1], count, 0), classes=3)

    @jax.jit
    def noise_of_layers(key):
        code, noise = model.draw(params, stats, batch, key), []
        for i in (3, 2, 1):
            above = tuple(code[:, j : j + 1] for j in range(2, i - 1, -1))
            q = model.coding.posterior(params, stats, batch, above)
            noise.append((code[:, i - 1 : i] - q.loc) / q.scale)
        return noise

    for noise in map(np.asarray, noise_of_layers(jax.random.key(10))):
        assert abs(noise.mean()) < 5 / count**0.5
        assert abs(noise.std() - 1) < 5 / (2 * count) ** 0.5


def test_samples_come_down_the_layers():
    (model, params, stats), label = shaken((2, 1), 6), np.arange(7) % 3

    @jax.jit
    def samples(key):
        noise, drawn = 0.6 * jax.random.normal(key, (7, 6)), ()
        for part in (noise[:, 5:], noise[:, 3:5], noise[:, :3]):
            drawn += (model.coding.prior(params, stats, label, drawn).at(part),)
        expected = jax.nn.sigmoid(model.coding.maps(params, stats, label, drawn)[..., 0])
        return expected, model.generate(params, stats, noise, label), model.sample(params, stats, key, label, 0.6)

    expected, *found = samples(jax.random.key(8))
    np.testing.assert_allclose(found, [expected] * 2, rtol=1e-5)


def test_label_reaches_posterior_prior_and_decoder():
    model, params, stats = shaken(condition=True)
    coding, above = model.coding, (np.zeros((1, 1), np.float32),)

    @jax.jit
    def told(label):
        q = coding.posterior(params, stats, batch_of(SEEN[:1], classes=3) | {"label": label}, ())
        return q.loc, coding.prior(params, stats, label, above).loc, coding.maps(params, stats, label, (*above, *above))

    for a, b in zip(told(np.array([0])), told(np.array([2])), strict=True):
        assert np.abs(a - b).max() > 1e-3


def test_bits_back_returns_the_pictures_at_the_cost_of_the_bound():
    (model, params, stats), count = shaken(), 1000
    images = SEEN[RNG.integers(0, len(SEEN), count)]
    coder = bits_back.Coder(model.coding, params, stats, SHAPE, 0, 50)
    words, batches, initial = bits_back.encode(coder, images.astype(np.int32), np.zeros(count, np.int32))
    again, _ = bits_back.decode(coder, words, batches, initial)
    np.testing.assert_array_equal(again, images)
    cost = jax.jit(model.evaluate)(params, stats, batch_of(images, classes=3), jax.random.key(9), HYPERS)[
        "neg_elbo_nats"
    ]
    # Of a model that is not trained, the bits of the images are not quite random numbers for the latents.
    assert 32 * (len(words) - initial) == pytest.approx(np.sum(cost) / np.log(2), rel=0.08)


@pytest.mark.parametrize("above", [(3,), (2, 1), (4, 8)])
def test_the_lowest_layer_needs_a_latent(above):
    with pytest.raises(ConfigError, match=r"model.above=\(.*\) leaves none of model.latent=3 for the lowest layer"):
        ladder(above)
