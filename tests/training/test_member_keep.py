"""Members in training that are interrupted, killed and asked again end as if nothing had happened, to the bit."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.training.recorded import Stopping
from tests.training.test_member_life import ASKED, BURST, ORDINARY, Life, assert_same_rows, live, make_members, whole
from vae_jax.errors import ConfigError, Preempted, StorageError
from vae_jax.training import members
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.member_keep import Keep
from vae_jax.training.members import Ended


@pytest.fixture(scope="module", autouse=True)
def undisturbed():
    """Train all members without an interruption, once for all tests."""
    return whole()


def outcome(life):
    ended = {n: (tree and state_sha256(tree), ended) for n, (tree, ended) in life.ended.items()}
    return life.rows, ended


def test_a_signal_saves_and_the_same_call_goes_on(tmp_path):
    """In four slots and in one, after a chunk and before somebody is handed over."""
    life, interrupted = Life({ASKED: 40}), []
    while True:
        try:
            live(make_members(), Keep(tmp_path, 1e9, Stopping(4)), life)
            break
        except Preempted as error:
            interrupted.append(life.step)
            assert str(error) == f"SIGTERM: saved at step {life.step} of 80; the same command resumes the run"
    assert interrupted == [28, 40, 56, 80]
    assert outcome(life) == outcome(whole())
    assert {n for n, step in life.begun if step == 0} == {0, 1, 2, 3}
    begun = len(life.begun)
    live(make_members(), Keep(tmp_path, 1e9, Stopping()), life)
    assert len(life.begun) == begun  # nothing is left to do
    assert not [*tmp_path.glob("group-0/slots-*")]


def test_who_is_not_yet_handed_over_when_the_process_dies_is_so_later(tmp_path):
    """The request is forgotten meanwhile: it has been heard."""
    life = Life({ASKED: 40})
    life.deliver = lambda *told: 1 / (told[-1].why != "request")
    with pytest.raises(ZeroDivisionError):
        live(make_members(), Keep(tmp_path, 1e9, Stopping()), life)
    del life.deliver
    life.asked, life.begun = {}, []
    life.ended[BURST] = whole().ended[BURST]
    live(make_members(), Keep(tmp_path, 1e9, Stopping()), life)
    assert (ASKED, 40) in life.begun and BURST not in dict(life.begun)
    assert outcome(life) == outcome(whole())


@pytest.mark.long
def test_a_signal_while_members_are_handed_over_is_heard_before_the_next(tmp_path):
    class Signal:
        signal_name = None

    both, life = [make_members()[i] for i in (ORDINARY, ASKED)], Life({1: 1e9})
    undisturbed = live(both, None, Life({1: 1e9}))
    deliver = life.deliver

    def interrupted(*told):
        deliver(*told)
        Signal.signal_name = "SIGTERM"

    life.deliver = interrupted
    with pytest.raises(Preempted, match="SIGTERM: saved at step 80 of 80"):
        live(both, Keep(tmp_path, 1e9, Signal), life)
    assert list(life.ended) == [0]
    Signal.signal_name, life.deliver, begun = None, deliver, len(life.begun)
    live(both, Keep(tmp_path, 1e9, Signal), life)
    assert life.begun[begun:] == [(1, 80)]
    assert outcome(life) == outcome(undisturbed)


def test_groups_are_of_the_size_that_was_decided_and_are_not_trained_again(tmp_path, monkeypatch):
    keep = Keep(tmp_path / "keep", 1e9, Stopping(13))
    monkeypatch.setattr(members, "_fitting", lambda *_: 1)
    life = Life({ASKED: 40})
    two = [make_members()[ASKED - 3], make_members()[ASKED]]
    with pytest.raises(Preempted):
        live(two, keep, life)  # the second group is interrupted
    assert life.begun == [(0, 0), (1, 0)] and life.ended[0][1] == Ended("finished")
    monkeypatch.setattr(members, "_fitting", lambda *_: 2)
    live(two, keep._replace(stopping=Stopping()), life)
    assert [n for n, _ in life.begun] == [0, 1, 1]
    assert life.ended[1][1] == Ended("finished")


def test_other_members_are_refused_and_a_damaged_plan_is_named(tmp_path):
    with pytest.raises(Preempted):
        live(make_members(), Keep(tmp_path, 1e9, Stopping(1)))
    others = make_members()
    for other in others[0]._replace(order_seed=6), others[0]._replace(held_out=np.arange(50)):
        with pytest.raises(ConfigError, match="holds the training of other members; use another folder"):
            live([other, *others[1:]], Keep(tmp_path, 1e9, Stopping()))
    (tmp_path / "members.json").write_text("{")
    with pytest.raises(StorageError, match=r"members\.json cannot be read"):
        live(others, Keep(tmp_path, 1e9, Stopping()))


def child(folder):
    """Train as `whole` does, saving after every call, and write down what is told; for a process of its own."""
    folder, life = pathlib.Path(folder), Life({ASKED: 40})
    told, ended = folder / "told.json", {}
    if told.exists():
        before = json.loads(told.read_text())
        life.rows = {int(n): [tuple(row) for row in rows] for n, rows in before["rows"].items()}
        ended = before["ended"]

    def tell():
        part = folder / "told.part"
        part.write_text(json.dumps({"step": life.step, "rows": life.rows, "ended": ended}))
        part.replace(told)

    write = life.write

    def noting(step, split, rows):
        write(step, split, rows)
        tell()

    def deliver(number, tree, why):
        new = [tree and state_sha256(tree), [why.why, why.error and str(why.error)]]
        assert ended.setdefault(str(number), new) == new
        tell()

    life.write, life.deliver = noting, deliver
    live(make_members(), Keep(folder / "keep", 0, Stopping()), life)


@pytest.mark.long
def test_kill_at_random_moments_and_all_ends_to_the_bit(tmp_path):
    code = f"import tests.conftest; from tests.training.test_member_keep import child; child({str(tmp_path)!r})"
    told, kills = tmp_path / "told.json", 0
    for step in (16, 40, 48, None):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        while step and process.poll() is None:
            if told.exists() and json.loads(told.read_text())["step"] >= step:
                time.sleep(0.02 * kills)
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        code_of = process.wait()
    assert kills == 3 and code_of == 0
    rows, ended = outcome(whole())
    found = json.loads(told.read_text())
    assert found["rows"] == json.loads(json.dumps(rows))
    assert found["ended"] == json.loads(json.dumps(ended))


@pytest.mark.long
def test_damage_is_survived_by_what_was_saved_in_more_slots(tmp_path):
    """All that was saved in one slot is damaged: the group goes on from when it had four."""
    life = Life({ASKED: 40})
    for calls in 5, 4:
        with pytest.raises(Preempted):
            live(make_members(), Keep(tmp_path, 1e9, Stopping(calls)), life)
    (folder,) = tmp_path.glob("group-0/slots-1/[0-9]*")
    (folder / "_CHECKPOINT_METADATA").write_bytes(b"X")
    begun = len(life.begun)
    live(make_members(), Keep(tmp_path, 1e9, Stopping()), life)
    assert any("is damaged" in line for line in life.said)
    assert life.begun[begun][1] == 40
    assert outcome(life) == outcome(whole())


@pytest.mark.long
def test_on_other_devices_the_group_goes_on_in_other_slots(tmp_path):
    """Four slots on two devices, and then six on three: equal to rounding."""
    life = Life({ASKED: 40})
    for call, devices in (1, 2), (1, 3), (0, 3):
        try:
            live(make_members(), Keep(tmp_path, 1e9, Stopping(call)), life, devices)
        except Preempted:
            assert call
    assert {step for _, step in life.begun} == {0, 8, 16}
    assert {n: ended for n, (_, ended) in life.ended.items()} == {n: ended for n, (_, ended) in whole().ended.items()}
    for number, rows in whole().rows.items():
        assert_same_rows(life.rows[number], rows)
