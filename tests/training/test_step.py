"""The step: the same on any number of devices, under every way to map it, in chunks of any size, and per member."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from tests.variants import load
from vae_jax.data.feed import make_feed, make_spec
from vae_jax.data.load import load_dataset
from vae_jax.data.order import batch_indices
from vae_jax.precision import precision_of
from vae_jax.trained import make_model
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.mesh import check_batch_size, place
from vae_jax.training.optim import make_hypers, make_optimizer
from vae_jax.training.step import init_state, make_chunk, make_step
from vae_jax.types import Model

BATCH, STEPS = 16, 6


@pytest.fixture(scope="module")
def parts():
    """A small VAE on real digits, trained by plain SGD: Adam would hide gradients that are off by a factor."""
    return build()


def build(variant="vae", **overrides):
    settings = {
        "model__encoder__hidden": (32,),
        "optimizer__name": "sgd",
        "hypers__learning_rate": 1e-3,
        "schedule__name": "constant",
        "train__batch_size": BATCH,
    }
    config = load(f"digits.py:variant={variant}", **settings | overrides)
    dataset = load_dataset(config, None)
    model = make_model(config, make_spec(dataset, config.data.pixels))
    optimizer = make_optimizer(config, 100, 10, model.groups)
    feed = make_feed(config.data, dataset, "train")
    step = make_step(model, optimizer, precision_of(config.train))
    chunk = jax.jit(make_chunk(step, feed.batch))
    return model, optimizer, make_hypers(config.hypers, 10), feed, chunk


def start(parts, seed=0, hypers=None):
    model, optimizer, default, *_ = parts
    return jax.jit(functools.partial(init_state, model, optimizer))(jax.random.key(seed), hypers or default)


def rows(seed=0, steps=STEPS):
    return batch_indices(seed, 0, steps, 1297, BATCH)


def run_chunk(parts, placement=None, state=None, indices=None, steps=STEPS):
    *_, feed, chunk = parts
    source = feed.arrays
    indices = rows() if indices is None else indices
    state = start(parts) if state is None else state
    if placement:
        state, source = jax.device_put((state, source), placement.everywhere)
        indices = jax.device_put(indices, placement.steps_of_batches)
    return chunk(state, source, indices, 0, steps)


def same(a, b, **tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **tolerance)


def identical(a, b):
    return state_sha256(a) == state_sha256(b)


def over_shards(step):
    """Return a step whose batch is divided over four devices by `shard_map`."""
    specs = {"in_specs": (PartitionSpec(), PartitionSpec("data")), "out_specs": PartitionSpec()}
    return jax.jit(jax.shard_map(step, mesh=place(4).everywhere.mesh, check_vma=False, **specs))


def test_one_and_four_devices_agree(parts):
    one, metrics_one = run_chunk(parts, place(1))
    four, metrics_four = run_chunk(parts, place(4))
    assert len(four.params["posterior"]["loc"]["kernel"].sharding.device_set) == 4
    same(one.params, four.params, atol=1e-6)
    same(metrics_one, metrics_four, rtol=1e-4)


def test_products_of_bfloat16_keep_these_promises(parts):
    short = build(train__precision="bf16")
    state, _ = run_chunk(short)
    assert not identical(state, run_chunk(parts)[0])
    test_one_and_four_devices_agree(short)
    first, second = (np.resize(half, (STEPS, BATCH)) for half in np.split(rows(), 2))
    middle, _ = run_chunk(short, indices=first, steps=STEPS // 2)
    assert identical(run_chunk(short, state=middle, indices=second, steps=STEPS // 2)[0], state)


@pytest.mark.filterwarnings("ignore:.*pmap.*:DeprecationWarning")
@pytest.mark.parametrize("mapped", ["pmap", "shard_map"])
def test_mapped_step_agrees_with_jit(parts, mapped):
    model, optimizer, _, feed, _ = parts
    batches = [feed.compiled(lambda batch: batch)(index) for index in rows()]
    plain, mapped_step = jax.jit(make_step(model, optimizer)), make_step(model, optimizer, axis_name="data")
    state = expected = start(parts)
    for batch in batches:
        expected, _ = plain(expected, batch)
    if mapped == "pmap":
        step = jax.pmap(mapped_step, axis_name="data", in_axes=(None, 0), out_axes=None)
        batches = [jax.tree.map(lambda x: x.reshape(4, BATCH // 4, *x.shape[1:]), batch) for batch in batches]
    else:
        step = over_shards(mapped_step)
    for batch in batches:
        state, _ = step(state, batch)
    same(state.params, expected.params, atol=1e-6)
    moved = jax.tree.map(lambda now, begun: np.abs(now - begun).max(), state.params, start(parts).params)
    assert max(jax.tree.leaves(moved)) > 1e-4  # the comparison is of updates that happened


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1, 1), (4, 2), (1, 5)])
def test_chunks_of_any_size_give_the_same_bits(parts, cuts):
    whole, metrics = run_chunk(parts)
    state, losses, done = start(parts), [], 0
    for size in cuts:
        indices = np.zeros((STEPS, BATCH), np.int32)
        indices[:size] = rows()[done : done + size]
        state, log = run_chunk(parts, state=state, indices=indices, steps=size)
        losses.append(np.asarray(log["loss"])[:size])
        done += size
    assert identical(state, whole)
    np.testing.assert_array_equal(np.concatenate(losses), metrics["loss"])


def test_four_members_under_vmap_equal_four_solo_runs(parts):
    model, optimizer, hypers, feed, _ = parts
    rates = jnp.array([1e-4, 3e-4, 1e-3, 2e-3])
    stacked = {name: jnp.broadcast_to(value, 4) for name, value in hypers.items()} | {"learning_rate": rates}
    keys = jnp.stack([jax.random.key(seed) for seed in range(4)])
    states = jax.jit(jax.vmap(functools.partial(init_state, model, optimizer)))(keys, stacked)
    orders = np.stack([rows(seed) for seed in range(4)])
    chunk = make_chunk(make_step(model, optimizer), feed.batch)
    members = jax.jit(jax.vmap(chunk, in_axes=(0, None, 0, None, None)))
    _, together = members(states, feed.arrays, orders, 0, STEPS)
    for member in range(4):
        state = start(parts, member, hypers | {"learning_rate": rates[member]})
        _, alone = run_chunk(parts, state=state, indices=orders[member])
        np.testing.assert_allclose(together["loss"][member], alone["loss"], rtol=1e-4)
    assert len({float(x) for x in together["loss"][:, -1]}) == 4


def test_no_key_is_used_twice(parts):
    with jax.debug_key_reuse(True):
        state, _ = run_chunk(parts)
    assert int(state.step) == STEPS


def test_noise_of_an_example_does_not_depend_on_its_place_in_the_batch(parts):
    forward, _ = run_chunk(parts, steps=1)
    backward, _ = run_chunk(parts, indices=rows()[:, ::-1].copy(), steps=1)
    same(forward.params, backward.params, atol=1e-6)


def test_two_players_keep_one_balance_over_the_devices():
    parts = build("began", optimizer__b1=None, hypers__gamma=0.5, hypers__k_rate=20.0, hypers__learning_rate=1e-2)
    model, optimizer, _, feed, _ = parts
    begun = start(parts)
    begun = begun._replace(stats=begun.stats | {"k": jnp.float32(0.5)})
    plain, _ = run_chunk(parts, state=begun)
    step = over_shards(make_step(model, optimizer, axis_name="data"))
    state, weights = begun, []
    for index in rows():
        state, metrics = step(state, feed.compiled(lambda batch: batch)(index))
        weights.append(float(metrics["k"]))
    same(state.params, plain.params, atol=1e-5)
    assert float(state.stats["k"]) == pytest.approx(float(plain.stats["k"]), rel=1e-3)
    clipped = [weight in (0, 1) for weight in weights]
    assert any(clipped)
    assert not all(clipped)


def test_plateau_is_told_by_convergence_where_there_is_one():
    def loss(params, stats, batch, key, hypers, step):
        del key, hypers
        falling = -jnp.float32(step) + 0 * params["w"]
        return falling, (stats, {"loss": falling} | ({"convergence": jnp.float32(1)} if batch else {}))

    config = load("digits.py:variant=vae", train__halve_patience_epochs=1)
    optimizer, hypers = make_optimizer(config, 100, 2), make_hypers(config.hypers, 2)
    model = Model(lambda _: ({"w": jnp.float32(0)}, {}), loss, *[None] * 5)
    for batch, expected in ({}, 1), ({"convergence": True}, 0.25):
        state, step = init_state(model, optimizer, jax.random.key(0), hypers), make_step(model, optimizer)
        for _ in range(6):
            state, metrics = step(state, batch)
        assert float(metrics["rate_factor"]) == expected


def test_batch_that_does_not_divide_over_the_devices_is_refused():
    with pytest.raises(ValueError, match=r"train\.batch_size=18 must be a multiple of the number of devices, 4"):
        check_batch_size(18, 4)
