"""Members of one program: each equals its run alone, on its own examples, with its own seed and hyperparameters."""

import functools
import types

import jax
import numpy as np
import pytest

from tests.variants import load
from vae_jax.data.feed import make_feed, make_spec
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, Diverged
from vae_jax.streams import stream
from vae_jax.trained import make_model
from vae_jax.training import member_programs, members
from vae_jax.training.member_mesh import place_members
from vae_jax.training.member_programs import Sizes, compile_group
from vae_jax.training.members import Callbacks, Member, best_of_members, fit_members
from vae_jax.training.optim import make_hypers, make_optimizer

KEY = stream(20140116, "evaluate")  # as in a run


@functools.cache
def parts(**overrides):
    settings = {
        "model__encoder__hidden": (24,),
        "train__batch_size": 16,
        "train__epochs": 4,
        "train__eval_every_epochs": 1,
        "train__ema_decay": None,
        "train__steps_per_call": 5,
        "data__pixels": "dynamic",
    }
    config = load("digits.py:variant=vae", **settings | overrides)
    dataset = load_dataset(config, None)
    feeds = {split: make_feed(config["data"], dataset, split) for split in ("train", "validation")}
    return config, dataset, feeds, make_model(config, make_spec(dataset, config["data"]["pixels"]))


def of_digit(digit, seed, **hypers):
    splits = parts()[1].splits
    train, held_out = (np.flatnonzero(splits[split].labels == digit) for split in ("train", "validation"))
    return Member(seed, train[: 112 + digit], held_out, hypers)  # seven batches each, and so as many steps alone


def fit(members, overrides=types.MappingProxyType({}), said=None, **options):
    """Return what was selected of each member, and the losses of training and validation before each validation."""
    config, _, feeds, model = parts(**overrides)
    shown, losses = [], {}

    def write(step, split, rows):
        losses[split] = [row["loss"] for row in rows.values()]
        if split == "validation":
            shown.append((step, *losses.values()))

    callbacks = Callbacks(write=write, say=print if said is None else said.append)
    return best_of_members(model, config, feeds, members, KEY, callbacks, **options), shown


def programs(count, devices):
    config, _, feeds, model = parts()
    placement = place_members(count, 16, devices)
    sizes = Sizes(placement.slots(count), 5, 16, 20)
    hypers = make_hypers(config["hypers"], 7)
    return compile_group(model, make_optimizer(config, 28, 7), ("fp32", "fp32"), feeds, KEY, hypers, placement, sizes)


def megabytes(compiled):
    """What its members need on a device."""
    return (compiled.bytes_once + compiled.bytes_each * compiled.sizes.slots / compiled.placement.num_rows) / 1e6


def assert_same(best, other):
    """To rounding, which steps of training make larger."""
    for one, another in zip(best, other, strict=True):
        assert float(one["loss"]) == pytest.approx(float(another["loss"]), rel=1e-3)
        assert one["step"] == another["step"]


LEARNS_ZEROS = of_digit(0, 0, learning_rate=3e-2)._replace(held_out=of_digit(1, 0).held_out)  # and is asked for ones
FEW = Member(0, np.arange(40), np.arange(3))
MEMBERS = (of_digit(0, 0), of_digit(0, 1), LEARNS_ZEROS, of_digit(3, 0, learning_rate=3e-3, beta=4.0), FEW)


@pytest.fixture(scope="module")
def together():
    return fit(MEMBERS)


def test_a_member_equals_its_run_alone_and_last_is_not_best(together):
    best, shown = together
    alone, losses = fit([LEARNS_ZEROS], {"train__select": "last"})
    assert len(shown) == len(losses) == 4
    for (step, train, value), (step_alone, train_alone, value_alone) in zip(shown, losses, strict=True):
        assert step == step_alone
        assert train[2] == pytest.approx(train_alone[0], rel=1e-3)
        assert value[2] == pytest.approx(value_alone[0], rel=1e-3)
    assert alone[0]["loss"] == np.float32(losses[-1][2][0])
    assert alone[0]["step"] == losses[-1][0]
    assert best[2]["loss"] < alone[0]["loss"]


def test_seeds_examples_and_hyperparameters_set_members_apart(together):
    best, _ = together
    assert len({float(one["loss"]) for one in best}) == len(MEMBERS)
    for leaf, other in zip(*(jax.tree.leaves(best[number]["params"]) for number in (0, 1)), strict=True):
        assert (leaf != other).any()  # members 0 and 1 differ in the seed alone


def test_what_is_kept_is_the_best_of_the_validations(together):
    best, shown = together
    values, steps = np.array([value for _, _, value in shown], np.float32), [step for step, *_ in shown]
    assert [one["loss"] for one in best] == [*values.min(axis=0)]
    assert [one["step"] for one in best] == [steps[i] for i in values.argmin(axis=0)]


def test_the_parameters_of_a_member_reach_the_loss_it_was_selected_for(together):
    best, _ = together
    _, _, feeds, model = parts()
    for one, member in zip(best, MEMBERS, strict=True):
        hypers = {"beta": member.hypers.get("beta", 1.0), "kl_warmup_steps": 0.0}

        def loss(batch, one=one, hypers=hypers):
            return model.evaluate(one["params"], one["stats"], batch, KEY, hypers)["loss"]

        values = feeds["validation"].compiled(loss)(member.held_out.astype(np.int32))
        assert float(np.mean(values)) == pytest.approx(float(one["loss"]), rel=1e-4)


def test_devices_make_no_difference_nor_a_batched_computation(together, monkeypatch):
    """By default all four devices were used; the fifth member was the second on the first of them."""
    monkeypatch.setattr(member_programs, "batched", lambda _: True)
    best, _ = fit(MEMBERS, devices=jax.devices()[:1])
    assert_same(best, together[0])


def test_a_batch_is_shared_by_the_devices_that_members_leave_over(together):
    best, _ = fit(MEMBERS[2:4], devices=jax.devices())
    assert_same(best, together[0][2:4])


@pytest.mark.long
def test_members_that_do_not_fit_are_trained_in_groups(together):
    said, two = [], jax.devices()[:2]
    memory_mb = 1.2 * megabytes(programs(2, two))
    best, shown = fit(MEMBERS, devices=two, memory_mb=memory_mb, said=said)
    assert_same(best, together[0])
    (line,) = said
    assert line.startswith("5 members do not fit") and line.endswith("trained in 3 groups of 2, one after another")
    assert [len(values) for _, values, _ in shown] == [2] * 4 + [2] * 4 + [1] * 4
    with pytest.raises(Diverged, match=r"member 1: (loss|grad_norm) is (nan|inf) at step \d"):
        fit([MEMBERS[0], of_digit(0, 0, learning_rate=1e30)], devices=two)


def test_memory_for_more_members_is_foretold():
    two, six = (programs(count, jax.devices()[:1]) for count in (2, 6))
    foretold = two.bytes_once + 6 * two.bytes_each
    assert megabytes(six) == pytest.approx(foretold / 1e6, rel=0.05)
    params, _ = parts()[3].init(KEY)
    assert two.bytes_each > 4 * sum(leaf.nbytes for leaf in jax.tree.leaves(params))  # two moments, and the best


@pytest.mark.parametrize(
    ("num_members", "num_devices", "free", "sizes"),
    [
        (5, 1, 60, [5]),
        (5, 1, 59, [5, 3]),  # even groups, not four and one
        (16, 1, 40, [16, 3]),
        (16, 2, 90, [16]),
        (16, 2, 89, [16, 8]),
        (16, 4, 25, [16, 4]),
        (3, 4, 20, [3]),
        (2, 1, 20, [2, 1]),
    ],
)
def test_groups_are_as_few_as_memory_allows(num_members, num_devices, free, sizes):
    """Ten bytes, and ten for each member of a device; no more is compiled than has to be."""
    asked = []

    def compiled(count):
        asked.append(count)
        placement = place_members(count, 16, jax.devices()[:num_devices])
        return member_programs.Programs(placement, Sizes(placement.slots(count), 5, 16, 20), *[None] * 5, 10, 10)

    assert members._fitting(compiled, num_members, free / 1e6, [].append) == sizes[-1]
    assert asked == sizes
    with pytest.raises(MemoryError, match=r"a member needs 2e-05 MB, and 1\.9e-05 MB are free"):
        members._fitting(compiled, num_members, 19e-6, [].append)


def test_members_that_cannot_be_trained_are_refused():
    with pytest.raises(ConfigError, match=r"batch_size=16 is more than the 3 training examples of member 1"):
        fit([of_digit(0, 0), Member(0, np.arange(3), np.arange(3))])
    with pytest.raises(ConfigError, match="member 0 has no held-out examples"):
        fit([Member(0, np.arange(30), np.arange(0))])
    config, _, feeds, model = parts()
    streamed = {name: feed._replace(arrays={}) for name, feed in feeds.items()}
    with pytest.raises(ConfigError, match="streamed"):
        fit_members(model, config, streamed, MEMBERS, KEY, Callbacks())
