"""What every model of every config keeps: the promises of `vae_jax.types.Model`, on pictures of an odd shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.variants import distinct_small, load_small
from vae_jax.trained import make_model
from vae_jax.training.optim import make_hypers
from vae_jax.types import Spec

SHAPE, CLASSES, SIZE = (9, 7, 2), 10, 7
KEY, DRAWS = jax.random.key(1), 200
# All tests of a variant run in one process and share its two compiled functions. The rest runs operation by operation,
# most of which another variant has compiled.
pytestmark = pytest.mark.parametrize(
    "variant", [pytest.param(variant, marks=pytest.mark.xdist_group(variant)) for variant in distinct_small()]
)


@functools.cache
def built(variant):
    config = load_small(variant)
    mean = np.random.default_rng(0).uniform(0.1, 0.9, SHAPE).astype(np.float32)
    model = make_model(config, Spec(SHAPE, CLASSES, mean, "binary"))
    hypers = make_hypers(config.hypers, steps_per_epoch=5)
    return config, model, hypers, *model.init(jax.random.key(0))


@functools.cache
def gradient_of(variant):
    """Return the compiled gradient of the loss, (params, stats, batch, key, hypers, step)."""
    return jax.jit(jax.value_and_grad(built(variant)[1].loss, has_aux=True))


@functools.cache
def evaluated(variant):
    """Return what `evaluate` and `log_weights` give for two batches that share three examples."""
    _, model, hypers, params, stats = built(variant)

    @jax.jit
    def run(batch):
        weights = model.log_weights and model.log_weights(params, stats, batch, jax.random.key(2), DRAWS)
        return model.evaluate(params, stats, batch, KEY, hypers), weights

    return [run(batch_of(range(start, start + SIZE))) for start in (0, 4)]


@functools.cache
@jax.ensure_compile_time_eval()  # also where its first use is traced
def batch_of(index):
    index = jnp.asarray(index)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(9), index)
    image = (jax.vmap(lambda key: jax.random.uniform(key, SHAPE))(keys) > 0.5).astype(jnp.float32)
    return {"image": image, "input": image, "label": index % CLASSES, "index": index}


def test_parameters_are_plain_float_arrays_and_a_function_of_the_key(variant):
    _, model, _, params, _ = built(variant)
    assert all(leaf.dtype == jnp.float32 and leaf.size for leaf in jax.tree.leaves(params))
    other = model.init(jax.random.key(1))[0]
    assert jax.tree.structure(params) == jax.tree.structure(other)
    assert any(not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (params, other)), strict=True))


def test_every_parameter_receives_a_finite_gradient(variant):
    _, _, hypers, params, stats = built(variant)
    _, gradient = gradient_of(variant)(params, stats, batch_of(range(SIZE)), KEY, hypers, jnp.float32(3))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


def test_training_and_evaluation_compute_the_same_loss(variant):
    _, model, hypers, params, stats = built(variant)
    arguments = params, stats, batch_of(range(SIZE)), KEY, hypers, jnp.float32(jnp.inf)
    (loss, (_, metrics)), _ = gradient_of(variant)(*arguments)
    values, _ = evaluated(variant)[0]
    penalties = {name for name in metrics if name.startswith("penalty_")}  # of the whole batch, in training only
    assert float(loss) == pytest.approx(float(values["loss"].mean() + sum(metrics[p] for p in penalties)), rel=1e-5)
    of_batch = metrics.keys() - values.keys() - penalties  # k, M: what two players have of the whole batch
    assert model.groups is not None or all(name.startswith("batch_") for name in of_batch)
    for name in metrics.keys() - of_batch - penalties - {"loss"}:
        assert float(metrics[name]) == pytest.approx(float(values[name].mean()), rel=1e-5), name


def test_evaluation_is_per_example_and_ignores_how_examples_are_batched(variant):
    (first, _), (second, _) = evaluated(variant)
    for name, value in first.items():
        assert value.shape == (SIZE,), name
        np.testing.assert_allclose(value[4:], second[name][: SIZE - 4], rtol=1e-4, atol=1e-5)


def test_encode_is_deterministic_and_decode_returns_pictures(variant):
    config, model, _, params, stats = built(variant)
    batch = batch_of(range(SIZE))
    code = model.encode(params, stats, batch)
    assert code.shape == (SIZE, config.model.latent)
    np.testing.assert_array_equal(code, model.encode(params, stats, batch))
    picture = model.decode(params, stats, code, batch["label"])
    assert picture.shape == (SIZE, *SHAPE)
    assert np.isfinite(picture).all()


def test_importance_weights_average_to_the_bound(variant):
    values, weights = evaluated(variant)[0]
    if weights is None:
        return
    assert weights.shape == (DRAWS, SIZE)
    # The exact KL of the bound and the sampled one of the weights agree: same constants, same reduction.
    error = 5 * (weights.std() / DRAWS**0.5 + weights.std(axis=0).mean() / SIZE**0.5)
    assert float(weights.mean()) == pytest.approx(-float(values["neg_elbo_nats"].mean()), abs=float(error))


def test_samples_follow_label_and_temperature(variant):
    config, model, _, params, stats = built(variant)
    if model.sample is None:
        return
    label = jnp.array([0, 0, 7])
    warm, cold = (model.sample(params, stats, jax.random.key(0), label, temperature) for temperature in (1.0, 0.0))
    assert warm.shape == (3, *SHAPE)
    assert np.abs(warm[0] - warm[1]).max() > 1e-6
    np.testing.assert_allclose(cold[0], cold[1], atol=1e-6)
    assert (np.abs(cold[0] - cold[2]).max() > 1e-6) == bool(config.model.get("condition"))


def test_twenty_steps_on_one_batch_lower_the_loss(variant):
    _, model, hypers, params, stats = built(variant)
    # Nothing rises while the loss is to fall; and with k held at 0 nothing opposes BEGAN's discriminator.
    held = {name for name in hypers if name.endswith("_steps") and name != "kl_cycle_steps"} | {"k_rate"} & set(hypers)
    hypers = hypers | dict.fromkeys(held, jnp.float32(0))
    losses = []
    for step in range(20):
        key = jax.random.fold_in(jax.random.key(0), step)
        (_, (stats, metrics)), gradient = gradient_of(variant)(
            params, stats, batch_of(range(SIZE)), key, hypers, jnp.float32(step)
        )
        # Along the signs, as Adam at first, and in NumPy: there is nothing to compile.
        params = jax.tree.map(lambda p, g: np.asarray(p) - np.float32(3e-3) * np.sign(g), params, gradient)
        # The sum of the losses of two players need not fall; the error on the data does.
        errors = ("real_error", "mse", "neg_elbo_nats") if model.groups else ("loss",)
        losses.append(float(next(metrics[name] for name in errors if name in metrics)))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
