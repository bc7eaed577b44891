"""Runs as members of one program: each ends as the run folder that its run alone would have."""

import json

import numpy as np
import pytest

from tests.variants import load
from vae_jax import results
from vae_jax import run as runs
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError
from vae_jax.results import evaluate_split
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps.group import run_group
from vae_jax.sweeps.plan import resolve
from vae_jax.sweeps.report import draw, status_text, table_text
from vae_jax.sweeps.table import best, check_validation, make_rows, over_seeds, swept, write_table
from vae_jax.trained import load as load_trained

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

COMMON = {
    "model.encoder.hidden": "16",
    "train.epochs": "4",
    "train.eval_every_epochs": "2",
    "train.steps_per_call": "7",
    "evaluate.num_importance_samples": "5",
}
POINTS = [
    {"hypers.beta": 1.0, "seed": 0},
    {"hypers.beta": 1.0, "seed": 1},
    {"hypers.beta": 4.0, "seed": 0},
    {"hypers.beta": 1e30, "seed": 0},  # diverges
]
STEPS = 1297 // 64


def begin(path, points):
    with sweeps.open_sweep(path, {"config": "configs/digits.py"}) as opened:
        names = sweeps.add_runs(opened, resolve("configs/digits.py", points, COMMON))
        return opened, sweeps.add_job(opened, names, {}), names


def go(path, job, names):
    config = load("digits.py:variant=vae")
    run_group(path, path / "jobs" / job, names, load_dataset(config, None), ())


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    path, job, names = begin(tmp_path_factory.mktemp("sweeps") / "beta", POINTS)
    go(path, job, names)
    return path, job, names


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of the second point by itself."""
    overrides = {name.replace(".", "__"): value for name, value in POINTS[1].items()}
    fixed = {"model__encoder__hidden": (16,), "train__epochs": 4, "train__eval_every_epochs": 2}
    folder = tmp_path_factory.mktemp("alone")
    config = load("digits.py", **fixed, train__steps_per_call=7, evaluate__num_importance_samples=5, **overrides)
    return folder, runs.train(config, folder)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_member_is_what_its_run_alone_is(sweep, alone):
    folder, results = sweep[0] / "runs" / "0001", alone[1]
    found = json.loads((folder / "results.json").read_text())
    assert json.loads((folder / "config.json").read_text()) == json.loads((alone[0] / "config.json").read_text())
    for group in "test", "baselines":
        assert found[group].keys() == results[group].keys()
        for name, value in results[group].items():
            about = value if isinstance(value, str) else pytest.approx(value, rel=1e-2, abs=1e-3)
            assert found[group][name] == about, name
    assert {name: found[name] for name in ("steps", "best_step", "num_parameters")} == {
        name: results[name] for name in ("steps", "best_step", "num_parameters")
    }


def test_it_logs_what_its_run_alone_logs(sweep, alone):
    found, expected = rows(sweep[0] / "runs" / "0001"), rows(alone[0])
    assert [(row["step"], row["split"], list(row)) for row in found] == [
        (row["step"], row["split"], list(row)) for row in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        for name in theirs.keys() - {"split"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-2, abs=1e-3), name


def test_its_folder_is_used_as_any_other(sweep):
    folder = sweep[0] / "runs" / "0002"
    config = load("digits.py", model__encoder__hidden=(16,))
    figures = evaluate_split(folder, load_dataset(config, None), "test", 5)
    recorded = json.loads((folder / "results.json").read_text())["test"]
    assert figures["neg_elbo_nats"] == pytest.approx(recorded["neg_elbo_nats"], rel=1e-5)
    assert load_trained(folder).sample(2).shape == (2, 8, 8, 1)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["members"] == 4 and manifest["seeds"] == {"seed": 0, "data_seed": 0}
    assert manifest["config_sha256"] == sweeps.read_point(sweep[0], "0002")["config_sha256"]


def test_who_diverges_fails_alone(sweep):
    path, _, names = sweep
    assert [sweeps.status(path, name) for name in names] == ["done", "done", "done", "failed"]
    failure = sweeps.read_failure(path, "0003")
    assert failure["exit_code"] == 76 and "learning_rate" in failure["message"]
    assert "runs/0003 (hypers.beta=1e+30, seed=0): " in status_text(path)


def test_whose_test_figures_are_not_finite_fails_alone(tmp_path, monkeypatch):
    path, job, names = begin(tmp_path / "sweep", POINTS[:2])
    made, evaluated = results.make_evaluate, []

    def first_is_infinite(*given):
        evaluate, pca = made(*given)

        def one(tree):
            evaluated.append(tree)
            return evaluate(tree) | ({"test": {"nll_nats": float("inf")}} if len(evaluated) == 1 else {})

        return one, pca

    monkeypatch.setattr(results, "make_evaluate", first_is_infinite)
    go(path, job, names)
    assert [sweeps.status(path, name) for name in names] == ["failed", "done"]
    assert sweeps.read_failure(path, names[0])["exit_code"] == 76


def test_nothing_that_is_done_is_touched_again(sweep):
    path, job, names = sweep
    before = {file: file.stat().st_mtime_ns for file in path.glob("runs/*/*.json")}
    go(path, job, names)
    assert {file: file.stat().st_mtime_ns for file in path.glob("runs/*/*.json")} == before


def test_members_that_are_asked_to_end_do(tmp_path):
    path, job, names = begin(tmp_path / "sweep", POINTS[:2])
    (path / "runs" / names[1] / "STOP").touch()
    go(path, job, names)
    first, second = (json.loads((path / "runs" / name / "results.json").read_text()) for name in names)
    assert (first["steps"], second["steps"]) == (4 * STEPS, 2 * STEPS)
    assert second["stopped"] == "request" and "stopped" not in first
    assert [row["status"] for row in make_rows(path)] == ["done", "stopped"]


def test_means_are_of_finished_runs_although_others_have_been_validated():
    rows = [
        {"run": f"000{i}", "status": status, "hypers.beta": 1.0, "seed": i, "validation.mse": value}
        for i, (status, value) in enumerate([("done", 1.0), ("failed", 9.0), ("running", 5.0)])
    ]
    assert over_seeds(rows, "validation.mse") == [
        {"hypers.beta": 1.0, "mean": 1.0, "standard_error": None, "finished": 1, "runs": 3}
    ]
    with pytest.raises(ConfigError, match="no run has finished yet"):
        over_seeds(rows[1:], "validation.mse")


def test_the_table_has_a_row_a_run_and_means_over_seeds(sweep, tmp_path):
    found = make_rows(sweep[0])
    assert swept(found) == ["hypers.beta"]
    assert [row["hypers.beta"] for row in found] == [1.0, 1.0, 4.0, 1e30]
    values = [row["test.mse"] for row in found[:2]]
    first, second, third = over_seeds(found, "test.mse")
    assert first["mean"] == pytest.approx(np.mean(values))
    assert first["standard_error"] == pytest.approx(abs(values[0] - values[1]) / 2)
    assert (second["standard_error"], third["mean"], third["finished"], third["runs"]) == (None, None, 0, 1)
    chosen = best(found)
    assert chosen["validation.neg_elbo_nats"] == min(row["validation.neg_elbo_nats"] for row in found[:3])
    text = table_text(found, "test.mse", None)
    assert f"best by validation.neg_elbo_nats = {chosen['validation.neg_elbo_nats']:.5g}" in text
    written = write_table(tmp_path, found)
    csv = pytest.importorskip("pandas").read_csv(written[0], dtype={"run": str})
    assert list(csv["run"]) == ["0000", "0001", "0002", "0003"]
    assert csv["test.mse"][:3].tolist() == pytest.approx([row["test.mse"] for row in found[:3]])
    parquet = pytest.importorskip("pyarrow.parquet").read_table(written[1]).to_pylist()
    assert [row["test.mse"] for row in parquet] == [row.get("test.mse") for row in found]


def test_no_figure_of_the_test_split_chooses_a_run(sweep):
    rows = make_rows(sweep[0])
    check_validation(rows, "validation.loss")
    with pytest.raises(ConfigError, match=r"--select_by=test\.nll_nats is no figure of validation"):
        check_validation(rows, "test.nll_nats")
    with pytest.raises(ConfigError, match=r"'validation\.los' is unknown \(did you mean"):
        check_validation(rows, "validation.los")


def test_pictures_suit_what_varies(sweep):
    found = make_rows(sweep[0])
    assert [file.name for file in draw(sweep[0], found, "test.mse")] == ["effect-test.mse.png"]
    for row in found:
        row["hypers.learning_rate"] = row["seed"] + 1e-3
    names = [file.name for file in draw(sweep[0], found, "test.mse")]
    assert names == ["heat_map-test.mse.png", "parallel-test.mse.png"]
