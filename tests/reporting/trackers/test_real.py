"""The trackers themselves, through the metric log: what they hold after a run, and after one that was resumed."""

import contextlib
import struct
import time

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from vae_jax.errors import Diverged, Preempted
from vae_jax.reporting.log import MetricLog, read_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # foreign libraries, in threads


def fill(folder, tracker, steps, start=0, finished=True):
    asked = contextlib.nullcontext() if finished else pytest.raises(Preempted)
    with asked, MetricLog(folder, start, [tracker] if tracker else []) as log:
        log.settings({"seed": 3, "hypers": {"beta": 4.0}})
        for step in steps:
            log.write(step, "train", {"loss": 1 / step}, {"images_per_second": 5.0})
        if finished:
            Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(folder / "samples.png")
            log.results(steps[-1], {"test": {"mse": 0.5}, "state_sha256": "a"}, [folder / "samples.png"])
        else:
            raise Preempted("asked to stop")


def resumed(folder, tracker):
    fill(folder, tracker, range(1, 5), finished=False)  # as far as step 4; the last checkpoint is of step 2
    fill(folder, tracker, range(3, 7), start=2)


def events(folder):
    """Yield the events of a TensorBoard folder: records of length, checksum, content, checksum."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack_from("<Q", content)
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def test_tensorboard_hides_what_comes_again(tmp_path):
    resumed(tmp_path, "tensorboard")
    losses, values, restart = {}, set(), []
    for event in events(tmp_path / "tensorboard"):
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            restart.append(event.step)
            losses = {step: value for step, value in losses.items() if step < event.step}
        for value in event.summary.value:
            values.add(value.tag)
            if value.tag == "train/loss":
                assert event.step not in losses
                losses[event.step] = value.simple_value
    assert restart == [3]
    assert losses == {row["step"]: pytest.approx(row["loss"]) for row in read_rows(tmp_path / "metrics.jsonl")}
    assert values >= {"train/images_per_second", "test/mse", "samples"}
    assert not any("sha256" in name for name in values)


def test_tensorboard_with_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("a file in the way")
    fill(tmp_path, "tensorboard", range(1, 4))
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 3
    assert capsys.readouterr().err.count("tracker tensorboard is off") == 1


@pytest.fixture
def wandb_mode(monkeypatch):
    """Set W&B's variables; within a process it reads them once."""
    wandb = pytest.importorskip("wandb", reason="needs the extra [wandb]")

    def choose(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"WANDB_{name.upper()}", value)
        wandb.teardown()

    yield choose
    wandb.teardown()


def test_wandb_offline_is_one_run(tmp_path, wandb_mode, capsys):
    wandb_mode(mode="offline")
    resumed(tmp_path, "wandb")
    name = (tmp_path / "wandb.id").read_text()
    words, stored, end = (b"train/loss", b"test/mse", b"hypers.beta"), b"", time.monotonic() + 20
    while not all(word in stored for word in words) and time.monotonic() < end:  # its service writes when it likes
        # Two folders of one second are told apart by a suffix.
        files = (tmp_path / "wandb").glob(f"offline-run-*-{name}*/run-{name}.wandb")
        stored = b"".join(path.read_bytes() for path in files)
        time.sleep(0.1)
    assert [word for word in words if word not in stored] == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("key", "reason"), [("", "type `wandb login`"), ("a" * 40, "connection refused")])
def test_wandb_without_account_or_network_holds_nobody_up(key, reason, tmp_path, wandb_mode, monkeypatch, capsys):
    wandb_mode(mode="online", api_key=key, base_url="http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))  # where a developer's account is
    monkeypatch.setattr("vae_jax.reporting.trackers.wandb._SECONDS", 2.0)
    started = time.monotonic()
    fill(tmp_path, "wandb", range(1, 4))
    assert time.monotonic() - started < 25
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 3
    said = capsys.readouterr().err
    assert said.count("tracker wandb is off") == 1
    assert reason in said


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """A client of a store in a folder."""
    client = pytest.importorskip("mlflow", reason="needs the extra [mlflow]").MlflowClient
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "betas")
    return client()


def test_mlflow_holds_every_row_once(tmp_path, mlflow):
    folder = tmp_path / "run"
    folder.mkdir()
    fill(folder, "mlflow", range(1, 5), finished=False)
    name = (folder / "mlflow.id").read_text()
    assert mlflow.get_run(name).info.status == "KILLED"
    fill(folder, "mlflow", range(3, 7), start=2)
    (run,) = mlflow.search_runs([mlflow.get_experiment_by_name("betas").experiment_id])
    assert run.info.run_id == (folder / "mlflow.id").read_text()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    rows = {row["step"]: row["loss"] for row in read_rows(folder / "metrics.jsonl")}
    assert {m.step: m.value for m in mlflow.get_metric_history(run.info.run_id, "train/loss")} == rows
    assert len(mlflow.get_metric_history(run.info.run_id, "train/loss")) == len(rows) == 6
    assert run.data.metrics["test/mse"] == 0.5
    assert run.data.params == {"seed": "3", "hypers.beta": "4.0"}
    assert [file.path for file in mlflow.list_artifacts(run.info.run_id, "pictures")] == ["pictures/samples.png"]


def test_mlflow_is_told_that_a_run_has_failed(tmp_path, mlflow):
    with pytest.raises(Diverged), MetricLog(tmp_path, 0, ["mlflow"]):
        raise Diverged("the loss is nan")
    assert mlflow.get_run((tmp_path / "mlflow.id").read_text()).info.status == "FAILED"
