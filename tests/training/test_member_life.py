"""Members of one program log, end and are handed over one by one, each as its run alone."""

import functools
import re

import jax
import numpy as np
import pytest

from tests.training.recorded import recording_outlet
from tests.variants import load
from vae_jax.data.load import load_dataset
from vae_jax.errors import Diverged
from vae_jax.parts import put_together
from vae_jax.streams import stream
from vae_jax.training import member_programs, members
from vae_jax.training.checkpoint import Checkpoints, restore
from vae_jax.training.fingerprint import raw_keys, state_sha256
from vae_jax.training.loop import Clock, fit
from vae_jax.training.members import Callbacks, Ended, Member, fit_members
from vae_jax.training.stop import StopRequest

SETTINGS = {
    "seed": 3,
    "data__seed": 5,
    "model__encoder__hidden": (),
    "hypers__beta": 2.0,
    "train__epochs": 4,  # of 20 steps
    "train__eval_every_epochs": 1,
    "train__patience_epochs": 1,
    "train__halve_patience_epochs": 2,
    "train__steps_per_call": 8,
}
STILL = {"learning_rate": 1e-30}  # so that no validation is better than the first
ORDINARY, PATIENT, BURST, ASKED = range(4)


@functools.cache
def parts(**overrides):
    config = load("digits.py:variant=vae", **SETTINGS | overrides)
    dataset = load_dataset(config, None)
    return config, dataset, put_together(config, dataset)


def make_members():
    examples = [np.arange(parts()[1].sizes[split]) for split in ("train", "validation")]
    hypers = {}, STILL, {"learning_rate": 1e30}, {}
    return [Member(3 + (i == ASKED), *examples, one, order_seed=5) for i, one in enumerate(hypers)]


class Life:
    """What is told of members, where each stands; those of a number in `asked` are to end after so many steps."""

    def __init__(self, asked=None):
        self.asked, self.step, self.rows, self.ended, self.begun, self.said = asked or {}, 0, {}, {}, [], []

    def callbacks(self):
        return Callbacks(self.begin, self.write, self.stop, self.deliver, self.said.append)

    def begin(self, number, step):
        self.begun.append((number, step))
        self.rows[number] = [row for row in self.rows.get(number, []) if row[0] <= step]

    def write(self, step, split, rows):
        self.step = step
        for number, row in rows.items():
            self.rows[number].append((step, split, row))

    def stop(self, number):
        return self.asked.get(number, 1e9) <= self.step

    def deliver(self, number, tree, ended):
        ended = ended._replace(error=ended.error and str(ended.error))  # two errors are never equal
        again = (tree and state_sha256(tree), ended)
        assert self.ended.get(number, again)[1:] == again[1:]
        self.ended[number] = (tree, ended)


def live(members, keep=None, life=None, devices=2, **overrides):
    config, _, run = parts(**overrides)
    life = life or Life({ASKED: 40})
    key = stream(20140116, "evaluate")
    fit_members(run.model, config, run.feeds, members, key, life.callbacks(), keep, jax.devices()[:devices])
    return life


@functools.cache
def whole():
    return live(make_members())


def alone(**overrides):
    """Return the rows and the checkpoint trees of a run."""
    config, _, run = parts(**overrides)
    outlet, rows, saved = recording_outlet()
    fit(run.program, run.start(), outlet, config["train"], 1e9, StopRequest(), Clock())
    return rows, saved


def assert_same_rows(rows, expected, rtol=1e-2):
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    for (*where, row), (*_, other) in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        np.testing.assert_allclose([row[k] for k in other], [*other.values()], rtol=rtol, err_msg=str(where))


def test_rows_and_tree_are_those_of_the_run_alone_which_can_restore_it(tmp_path):
    """Its neighbours end before it does, so that it is moved to a program of its own halfway."""
    rows, saved = alone()
    assert_same_rows(whole().rows[ORDINARY], rows)
    assert {"grad_norm", "rate_factor"} <= rows[0][2].keys()
    tree, ended = whole().ended[ORDINARY]
    assert ended == Ended("finished")
    with Checkpoints(tmp_path / "checkpoints", 1) as checkpoints:
        checkpoints.save(80, tree)
    step, tree = restore(tmp_path / "checkpoints", parts()[2].abstract)
    assert step == 80 and [*saved] == [80]
    for leaf, other in zip(*map(jax.tree.leaves, map(raw_keys, (tree, saved[80]))), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=0.05, atol=5e-3)


def test_patience_ends_a_member_where_it_ends_the_run_alone():
    rows, saved = alone(hypers__learning_rate=1e-30)
    tree, ended = whole().ended[PATIENT]
    assert ended == Ended("patience")
    assert int(tree["state"]["step"]) == max(saved) == 40
    assert int(tree["best"]["step"]) == int(saved[40]["best"]["step"]) == 20
    assert_same_rows(whole().rows[PATIENT], rows)


def test_a_member_that_diverges_ends_by_itself_with_the_words_of_the_run_alone():
    with pytest.raises(Diverged) as error:
        alone(hypers__learning_rate=1e30)
    tree, ended = whole().ended[BURST]
    at = [re.search(r"at step .*", text)[0] for text in (ended.error, str(error.value))]  # as inf or as nan
    assert (tree, ended.why) == (None, "diverged") and at[0] == at[1]
    assert whole().rows[BURST] == []


def test_a_member_that_is_asked_to_end_does_after_its_next_validation():
    tree, ended = whole().ended[ASKED]
    assert ended == Ended("request")
    assert int(tree["state"]["step"]) == 40
    assert [row[0] for row in whole().rows[ASKED] if row[1] == "validation"] == [20, 40]


def test_those_who_have_ended_make_no_difference_to_the_others(monkeypatch):
    """Neither where they are left out from the start, nor where all are in one batched computation."""
    without = live([make_members()[ORDINARY]])
    monkeypatch.setattr(member_programs, "batched", lambda _: True)
    at_once = live(make_members(), devices=1)
    for life in without, at_once:
        assert_same_rows(life.rows[ORDINARY], whole().rows[ORDINARY])
    for number in PATIENT, ASKED:
        assert_same_rows(at_once.rows[number], whole().rows[number])
    assert [ended for _, ended in at_once.ended.values()] == [ended for _, ended in whole().ended.values()]


def test_half_of_the_slots_idle_and_the_rest_goes_on_in_fewer(monkeypatch):
    slots, compile_group = [], members.compile_group
    monkeypatch.setattr(members, "compile_group", lambda *args: slots.append(args[-1].slots) or compile_group(*args))
    life = live(make_members())
    assert slots == [4, 1]
    found, expected = ({n: tree and state_sha256(tree) for n, (tree, _) in of.ended.items()} for of in (life, whole()))
    assert found == expected
