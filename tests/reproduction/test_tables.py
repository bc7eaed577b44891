"""Published tables: what the rows ask for, what is run and what is not, the lines that are kept, the page."""

import json
import os
import pathlib
import shutil
import signal

import numpy as np
import pytest

from scripts import reproduce as script
from tests.conftest import ROOT
from vae_jax import config as configs
from vae_jax.errors import ConfigError, DataError, OutputError, Preempted
from vae_jax.reproduction import make as makes
from vae_jax.reproduction import render, tables
from vae_jax.reproduction.record import Run, record
from vae_jax.reproduction.tables import read_record
from vae_jax.tasks.anomaly import one_class
from vae_jax.training.folder import read_results

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SPEC = "tiny.py:variant=tiny"
TINY = tables.TABLES["iwae"]._replace(
    name="tiny",
    rows=(
        tables.Row("first", "the first", -10.0, SPEC, "test.nll_nats"),
        tables.Row("same_run", "of the same run", 0.02, SPEC, "test.mse"),
        tables.Row("other", "another", 1.0, "tiny.py:variant=other", "test.mse"),
    ),
)
CONFIG = """
from base import apply_variant, set_vae
from base import get_config as get

def get_config(arg=""):
    config = set_vae(get(), "gaussian_shared_scale")
    config.model.latent, config.model.encoder.hidden = 2, (16,)
    config.data.name, config.train.batch_size = "digits", 64
    config.train.epochs = config.train.eval_every_epochs = 1
    config.evaluate.num_importance_samples = 5
    apply_variant(config, arg, {"tiny": lambda _: None, "other": _other}, default="tiny")
    return config

def _other(config):
    config.seed = 9
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of which the first row was made, with one seed and then with two."""
    root = tmp_path_factory.mktemp("root")
    (root / "base.py").write_text((ROOT / "configs" / "base.py").read_text())
    (root / "tiny.py").write_text(CONFIG)
    build(root, seeds=1)
    before = [(p, p.stat().st_mtime_ns) for p in (root / "runs" / "tiny-seed0").rglob("*.json*")]
    build(root, seeds=2)
    assert [(p, p.stat().st_mtime_ns) for p, _ in before] == before
    return root


def copy_configs(root, folder):
    for name in "tiny.py", "base.py":
        shutil.copy(root / name, folder)


def build(root, seeds, rows=TINY.rows[:1], say=lambda _: None):
    return makes.make(TINY, rows, range(seeds), root, root / "runs", root / "docs", None, say)


def test_lines_are_what_the_runs_gave(made):
    first, second = read_record(made / "docs" / "tiny.jsonl")
    results = [read_results(made / "runs" / f"tiny-seed{seed}") for seed in (0, 1)]
    values = [one["test"]["nll_nats"] for one in results]
    assert first["ours"] == {"0": values[0], "1": values[1]} and values[0] != values[1]
    assert first["mean"] == pytest.approx(sum(values) / 2)
    assert first["standard_error"] == pytest.approx(abs(values[0] - values[1]) / 2)
    assert first["gap"] == pytest.approx(first["mean"] + 10)
    assert first["command"].endswith("--table=tiny --row=first --seeds=2 --data_dir=DATA")
    assert (first["num_train"], first["importance_samples"], first["epochs"]) == (1297, 5, 1)
    assert [one["state_sha256"] for one in first["runs"]] == [one["state_sha256"] for one in results]
    assert first["runs"][0]["config_sha256"] == configs.fingerprint(tables.load(TINY.rows[0], made, 0))
    assert all(one["seconds_total"] > 0 and "cores of" in one["hardware"] for one in first["runs"])
    assert second["row"] == "same_run" and second["mean"] == np.mean([one["test"]["mse"] for one in results])


def test_runs_of_another_config_are_none_of_a_row_and_lines_without_runs_stay(made, tmp_path):
    (tmp_path / "runs").mkdir()
    copy_configs(made, tmp_path)
    old = read_record(made / "docs" / "tiny.jsonl")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tiny.jsonl").write_text(json.dumps(old[1]) + "\n" + json.dumps({**old[0], "row": "gone"}))
    (tmp_path / "runs" / "tiny-seed0").symlink_to(made / "runs" / "tiny-seed0")
    (tmp_path / "runs" / "tiny-seed5").symlink_to(made / "runs" / "tiny-seed1")  # its config says seed 1
    build(tmp_path, seeds=1)
    lines = read_record(tmp_path / "docs" / "tiny.jsonl")
    assert [(line["row"], list(line["ours"])) for line in lines] == [("first", ["0"]), ("same_run", ["0"])]


def test_a_signal_ends_it_between_runs_as_a_run_that_can_go_on(made):
    with pytest.raises(Preempted, match="SIGTERM"):
        build(made, seeds=3, say=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert not (made / "runs" / "tiny-seed2").exists()


def test_a_run_that_was_stopped_gives_no_row(made, tmp_path):
    copy_configs(made, tmp_path)
    shutil.copytree(made / "runs" / "tiny-seed0", tmp_path / "runs" / "tiny-seed0")
    path = tmp_path / "runs" / "tiny-seed0" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "stopped": "request"}))
    said = []
    build(tmp_path, seeds=2, say=said.append)
    assert [list(line["ours"]) for line in read_record(tmp_path / "docs" / "tiny.jsonl")] == [["1"], ["1"]]
    assert [line for line in said if "it gives no row" in line] == [
        f"{path.parent} was stopped before its end (STOP): it gives no row; delete it to run it again"
    ]


def test_what_cannot_be_written_or_read_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"--out=.*file is no folder and cannot be made: "):
        script.main(["--table=bbans", f"--out={tmp_path / 'file'}", f"--data_dir={tmp_path}"])
    (tmp_path / "bbans.jsonl").write_text("<<<<<<< HEAD\n")
    with pytest.raises(DataError, match=r"bbans\.jsonl, line 1 is damaged"):
        script.main(["--table=bbans", f"--out={tmp_path}", f"--data_dir={tmp_path}"])


def test_each_task_does_once_what_it_is_for(made, monkeypatch, tmp_path):
    settings, calls = tables.load(TINY.rows[0], made, 0), []
    monkeypatch.setattr(makes, "evaluate", lambda saved: calls.append(saved.folder) or {"lossless": None})
    monkeypatch.setattr(makes, "train", lambda *_: None)
    (tmp_path / "run").symlink_to(made / "runs" / "tiny-seed0")
    for _ in range(2):
        makes.TASKS["compress"].run(settings, tmp_path / "run", None, print)
    assert calls == [(made / "runs" / "tiny-seed0").resolve()]
    monkeypatch.setattr(one_class, "run", lambda *given: calls.append(given[2:4]))
    makes.TASKS["one_class"].run(settings, tmp_path / "ten", None, print)
    assert calls[1] == (tmp_path / "ten", False)


def test_a_figure_of_the_chosen_score_and_of_a_class(made):
    scores = {"a": {"mean": {"auroc": 0.5}}, "b": {"mean": {"auroc": 0.9}, "classes": [{"auroc": 0.25}]}}
    table = tables.TABLES["oneclass"]
    figures = {"chosen": "b", "scores": scores, "training": {"seconds": 4.0}}
    run = Run(0, made / "runs" / "tiny-seed0", figures)
    mean, zero = (record(table, row, [run], ROOT) for row in table.rows[:2])
    assert (mean["mean"], zero["mean"]) == (90.0, 25.0)
    assert mean["gap"] == pytest.approx(4.8) and mean["standard_error"] is None


def test_rows_name_configs_that_load_and_folders_of_their_own():
    for table in tables.TABLES.values():
        assert table.task in makes.TASKS
        folders = {}
        for row in table.rows:
            settings = tables.load(row, ROOT, 3)
            assert settings["seed"] == 3 and settings["data"]["seed"] == tables.load(row, ROOT, 0)["data"]["seed"]
            folders.setdefault(tables.folder_name(row, 3), set()).add(configs.fingerprint(settings))
        assert all(len(found) == 1 for found in folders.values())
    names = {name: [row.name for row in table.rows] for name, table in tables.TABLES.items()}
    assert names["iwae"] == ["vae_1", "vae_5", "vae_50", "iwae_1", "iwae_5", "iwae_50"]
    assert {name: len(rows) for name, rows in names.items()} == {"iwae": 6, "vamp": 4, "bbans": 4, "oneclass": 11}


def test_unknown_tables_and_rows_are_refused_with_the_known_ones():
    known = r"'iwea' is unknown \(did you mean \"iwae\"\?\); known: iwae, vamp, bbans, one"
    with pytest.raises(ConfigError, match=known):
        tables.find("iwea")
    with pytest.raises(ConfigError, match=r"'vae_2' is unknown .*; known: vae_1, vae_5, vae_50"):
        tables.choose(tables.find("iwae"), "vae_2")


def test_the_page_says_what_is_there_and_what_is_missing(made, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "TABLES", {"tiny": TINY})
    assert "Not run yet: `first`, `same_run`, `other`." in render.page(tmp_path / "none")
    page = render.page(made / "docs")
    line = next(line for line in page.splitlines() if line.startswith("| the first"))
    mean = read_record(made / "docs" / "tiny.jsonl")[0]["mean"]
    assert line.startswith(f"| the first | -10.00 | **{mean:.2f}** ± ") and "| 2 | +" in line
    assert "| another | 1.00 | not run |" in page and "Not run yet: `other`." in page
    assert "1297 training pictures" in page


def test_the_page_in_the_docs_is_the_present_one():
    script.main(["--render", "--check"])


def test_lines_in_the_docs_are_of_the_tables():
    for path in pathlib.Path(ROOT, "docs", "tables").glob("*.jsonl"):
        rows = {row.name: row for row in tables.find(path.stem).rows}
        for line in read_record(path):
            assert line["published"] == rows[line["row"]].published
            for run in line["runs"]:
                settings = tables.load(rows[line["row"]], ROOT, run["seed"])
                assert run["config_sha256"] == configs.fingerprint(settings), f"{path.name}, {line['row']}"
