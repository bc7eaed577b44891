"""What Ada-GVAE takes for shared, by hand; its loss, by the formula from the parts of two plain VAEs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.variants import load, load_small
from vae_jax.errors import ConfigError
from vae_jax.models import ada_gvae
from vae_jax.prob.distributions import Normal
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec

SHAPE, SIZE, VARIANT = (4, 4, 1), 5, "zoo_disentangling.py:variant=ada_gvae"
KEY, RNG = jax.random.key(3), np.random.default_rng(0)
IMAGES = np.float32(RNG.integers(0, 2, (20, *SHAPE)))


@pytest.fixture(scope="module")
def built():
    config = load_small(VARIANT)
    model = make_model(config, Spec(SHAPE, 3, np.full(SHAPE, 0.4, np.float32), "binary", 100))
    hypers = make_hypers(config.hypers, 5) | {"beta": np.float32(3)}
    params, stats = jax.jit(model.init)(jax.random.key(0))
    loud = jax.tree.map(lambda leaf: leaf + np.float32(0.2 * RNG.normal(size=leaf.shape)), params)
    return model, loud, stats, hypers


shared = jax.jit(ada_gvae.shared)


def batch_of(index):
    index = np.array(index)
    return {"image": IMAGES[index], "input": IMAGES[index], "label": 0 * index, "index": index}


def test_close_latents_get_the_mean_of_means_and_variances_and_the_others_stay():
    one = Normal(np.array([[0.0, 1.0, 2.0], [5.0, 0.0, 0.0]]), np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 1.0]]))
    other = Normal(np.array([[0.2, 4.0, 3.0], [5.0, 0.0, 9.0]]), np.array([[1.0, 1.0, 2.0], [1.0, 1.0, 1.0]]))
    # By hand, KL(one || other): 0.02, 4.5, log 2 + 2 / 8 - 1 / 2; and 0, -log 2 + 4 / 2 - 1 / 2, 40.5
    found = shared(one, other)
    loc = [[0.1, 1.0, 2.5], [5.0, 0.0, 0.0]], [[0.1, 4.0, 2.5], [5.0, 0.0, 9.0]]
    variance = [[1.0, 1.0, 2.5], [1.0, 2.5, 1.0]], [[1.0, 1.0, 2.5], [1.0, 2.5, 1.0]]
    for q, means, variances in zip(found, loc, variance, strict=True):
        np.testing.assert_allclose(q.loc, means, rtol=1e-6)
        np.testing.assert_allclose(np.square(q.scale), variances, rtol=1e-6)


def test_the_threshold_is_half_of_the_largest_and_the_smallest_kl_of_the_first_to_the_second():
    def moved(divergences):
        return Normal(np.sqrt(2 * np.array([divergences])), np.ones((1, 3)))

    start = Normal(np.zeros((1, 3)), np.ones((1, 3)))
    for middle, joins in (5.4, True), (5.6, False):  # of 1 and 10: 5.5
        found = shared(start, moved([1.0, middle, 10.0]))[0]
        np.testing.assert_array_equal(np.asarray(found.loc)[0] != 0, [True, joins, False])
    # KL(one || other) of a narrow one is small, KL(other || one) of a wide other is large.
    one, other = (Normal(np.zeros((1, 3)), np.array([[scale, 1.0, 1.0]])) for scale in (0.5, 5.0))
    far = other._replace(loc=np.array([[0.0, 0.0, 2.9]]))  # 4.2 nats; the first latent: 1.8 one way, 47 the other
    assert float(shared(one, far)[0].scale[0, 0]) > 3
    assert float(shared(far, one)[0].scale[0, 0]) == 5


def test_the_loss_is_the_mean_of_two_bounds_with_shared_posteriors(built):
    model, params, stats, hypers = built
    one, other = batch_of(range(SIZE)), batch_of(range(10, 10 + SIZE))
    loss, (_, metrics) = jax.jit(model.loss)(params, stats, one | {"partner": other}, KEY, hypers, 0)
    key = jax.random.split(KEY)[0]

    @jax.jit
    def pictures_rates_and_plain_losses(*batches):
        noise, posteriors, told = [], [], []
        for batch in batches:  # the noise of an example is that of its index: from a draw follows the scale
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
            noise.append(jax.vmap(lambda key: jax.random.normal(key, (1, 3)))(keys)[:, 0])
            mean = model.encode(params, stats, batch)
            posteriors.append(Normal(mean, (model.draw(params, stats, batch, key) - mean) / noise[-1]))
        for batch, q, drawn in zip(batches, shared(*posteriors), noise, strict=True):
            rate = (0.5 * (q.scale**2 + q.loc**2 - 1) - jnp.log(q.scale)).sum(-1)
            plain = model.evaluate(params, stats, batch, KEY, hypers)["loss"]
            told.append((model.decode(params, stats, q.at(drawn), batch["label"]), rate, plain))
        return told

    expected, plain = [], []
    for x, told in zip((one["image"], other["image"]), pictures_rates_and_plain_losses(one, other), strict=True):
        p, rate, loss_alone = (np.asarray(values, np.float64) for values in told)
        distortion = -(x * np.log(p) + (1 - x) * np.log1p(-p)).sum((1, 2, 3))
        expected.append((distortion + 3 * rate).mean())
        plain.append(loss_alone.mean())
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-4)
    assert float(metrics["loss"]) == pytest.approx(float(loss))
    assert abs(float(loss) - np.mean(plain)) > 0.01, "something is shared"


def test_a_picture_that_is_its_own_partner_has_the_plain_loss(built):
    model, params, stats, hypers = built

    @jax.jit
    def losses(batch):
        alone = model.loss(params, stats, batch, KEY, hypers, 0)[0]
        paired = model.loss(params, stats, batch | {"partner": batch}, KEY, hypers, 0)[0]
        return alone, paired, model.evaluate(params, stats, batch, KEY, hypers)["loss"].mean()

    alone, paired, plain = map(float, losses(batch_of(range(SIZE))))
    assert alone == pytest.approx(plain, rel=1e-6)
    assert paired == pytest.approx(plain, rel=1e-6)


def test_evaluation_is_of_single_pictures(built):
    model, params, stats, hypers = built
    batch = batch_of(range(SIZE))
    run = jax.jit(lambda batch: model.evaluate(params, stats, batch, KEY, hypers))
    alone, paired = run(batch), run(batch | {"partner": batch_of(range(9, 14))})
    jax.tree.map(np.testing.assert_array_equal, paired, alone)


def test_pairs_and_models_that_learn_from_them_go_together():
    with pytest.raises(ConfigError, match=r"model.name='ada_gvae' learns from pairs: set data.pairs"):
        load(VARIANT, data__pairs=None)
    with pytest.raises(ConfigError, match=r"data.pairs=1 is set, but model.name='vae' does not learn from pairs"):
        load("sprites.py:variant=beta", data__pairs=1)
    with pytest.raises(ConfigError, match=r"data.pairs=-1 is not allowed"):
        load(VARIANT, data__pairs=-1)
