"""The metric log: rows after the point of resumption go, a torn last line goes, a failing tracker stops nothing."""

import json

import pytest

from vae_jax.reporting.log import MetricLog, read_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def fill(folder, steps, start=0):
    with MetricLog(folder, start) as log:
        for step in steps:
            log.write(step, "train", {"loss": 1 / step}, {"images_per_second": 5.0})


def test_resumed_log_equals_the_uninterrupted_one_byte_for_byte(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    fill(tmp_path / "a", range(1, 7))
    fill(tmp_path / "b", range(1, 5))
    with open(tmp_path / "b" / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "split": "tr')
    fill(tmp_path / "b", range(3, 7), start=2)
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    assert [row["step"] for row in read_rows(tmp_path / "b" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_speed_is_not_in_the_deterministic_log(tmp_path):
    fill(tmp_path, [1])
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "split": "train", "loss": 1.0}


def test_tensorboard_events_are_written(tmp_path):
    fill(tmp_path, [1, 2])
    assert b"train/loss" in b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())


def test_tracker_that_fails_is_dropped_and_said_once(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("a file in the way")
    fill(tmp_path, [1, 2, 3])
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 3
    assert capsys.readouterr().err.count("TensorBoard events are off") == 1
