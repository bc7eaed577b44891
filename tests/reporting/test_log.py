"""The metric log: rows after the point of resumption go, a torn last line goes."""

import json

from vae_jax.reporting.log import MetricLog, read_rows


def fill(folder, steps, start=0):
    with MetricLog(folder, start, trackers=()) as log:
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
