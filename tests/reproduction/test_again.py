"""A run done again: to the bit where that is promised, within a tolerance elsewhere, and never touched."""

import json
import shutil
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.bad_input.run import contents
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, DataError, NotReproduced
from vae_jax.reproduction import again as module
from vae_jax.reproduction.again import run_again, summary
from vae_jax.reproduction.original import read_original
from vae_jax.training.checkpoint import Checkpoints, load_newest
from vae_jax.training.manifest import make_manifest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = {"train__epochs": 2, "train__eval_every_epochs": 1, "evaluate__num_importance_samples": 5}
ELSEWHERE = {"jax": {"cpu_cores": 99}}


@pytest.fixture(scope="module")
def done(saved_run, tmp_path_factory):
    """Return a run, the folder where it was done again, and what was said and found."""
    folder = saved_run("digits.py:variant=vae,runlocal", **SMALL)
    out, before = tmp_path_factory.mktemp("again") / "out", contents(folder)
    report, said = again(folder, out)
    assert contents(folder) == before and json.loads((out / "reproduction.json").read_text()) == report
    return folder, out, report, said


def again(folder, out, tolerance=0.01, said=None):
    said, original = [] if said is None else said, read_original(folder)
    dataset = load_dataset(original.config, None)
    return run_again(original, dataset, out, tolerance, time.time(), said.append), said


@pytest.fixture
def changed(done, tmp_path):
    """Return a copy of the run, to be tampered with, and a function of its files."""
    folder = shutil.copytree(done[0], tmp_path / "run")

    def change(name, edit):
        path = folder / name
        path.write_text(json.dumps(edit(json.loads(path.read_text()))))

    return folder, change


def merged(more):
    return lambda old: {**old, **{k: {**old[k], **v} if isinstance(v, dict) else v for k, v in more.items()}}


def test_the_same_run_comes_back_to_the_bit(done):
    *_, report, said = done
    assert report["gaps"] == report["differences"] == [] and report["tolerance"] is None
    assert report["compared"] > 100 and summary(report).startswith("to the bit")
    assert "must come back to the bit" in said[0]


def test_what_was_done_again_before_must_be_of_the_conditions_of_now(done, monkeypatch, tmp_path):
    folder, out, *_ = done
    with monkeypatch.context() as changed:
        changed.setattr(module, "make_manifest", lambda *of: {**make_manifest(*of), "jax": {"cpu_cores": 99}})
        with pytest.raises(ConfigError, match=r"out was done again under other conditions than now \(jax.cpu_cores: "):
            again(folder, out)
    assert again(folder, out)[0]["gaps"] == []
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(ConfigError, match="copy is a copy of the run, which nothing has done again; delete it"):
        again(folder, tmp_path / "copy")


def test_an_edited_metric_is_named(done, changed):
    folder, _ = changed
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    row = json.loads(lines[0])
    row["grad_norm"] *= 1 + 1e-12
    (folder / "metrics.jsonl").write_text("\n".join([json.dumps(row), *lines[1:]]) + "\n")
    with pytest.raises(NotReproduced, match=r"1 of \d+ figures .* the first is train grad_norm, step 20"):
        again(folder, done[1])


def test_a_row_that_is_missing_is_named(done, changed):
    folder, _ = changed
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(NotReproduced, match=r"the first is validation .*, step 40"):
        again(folder, done[1])


def test_an_edited_figure_is_named_and_shown(done, changed):
    folder, change = changed
    change("results.json", merged({"test": {"nll_nats": 123.0}}))
    said = []
    with pytest.raises(NotReproduced, match=r"the first is test\.nll_nats"):
        again(folder, done[1], said=said)
    assert "figure" in said[-1] and "test.nll_nats  123" in said[-1]


def test_other_parameters_are_named(done, changed):
    folder, _ = changed
    step, tree = load_newest(folder / "checkpoints")
    leaves, form = jax.tree.flatten(tree["state"]["params"])
    leaves[0] = leaves[0].at[0].add(1e-3)
    tree["state"]["params"] = jax.tree.unflatten(form, leaves)
    shutil.rmtree(folder / "checkpoints")
    with Checkpoints(folder / "checkpoints", 1) as checkpoints:
        checkpoints.save(step, tree)
    with pytest.raises(NotReproduced, match=r"1 of \d+ figures .* the first is \['state'\]\['params'\]"):
        again(folder, done[1])


def test_a_lost_checkpoint_is_told_and_the_rest_is_compared(done, changed):
    folder, _ = changed
    shutil.rmtree(folder / "checkpoints")
    report, said = again(folder, done[1])
    assert "known by state_sha256 alone" in said[0] and report["tolerance"] is None


@pytest.mark.parametrize(
    "more, told",
    [
        (ELSEWHERE, "jax.cpu_cores: 99 -> "),
        ({"environment": {"XLA_FLAGS": "--other"}}, "environment.XLA_FLAGS: --other -> "),
        ({"packages": {"jaxlib": "0.1"}}, "packages.jaxlib: 0.1 -> "),
        ({"code": {"source_sha256": "ab"}}, "code.source_sha256: ab -> "),
        ({"restarts": [{"step": 20, "changed": {"jax": {"cpu_cores": 98}}}]}, "jax.cpu_cores: "),
        ({"members": 3}, "one of 3 members"),
    ],
)
def test_where_bits_are_not_promised_a_tolerance_holds(done, changed, more, told):
    folder, change = changed
    change("manifest.json", merged(more))
    change("results.json", lambda old: {**old, "state_sha256": "0", "best_step": 7})
    report, said = again(folder, done[1])
    assert report["tolerance"] == 0.01 and told in "\n".join(said) and "not to the bit" in "\n".join(said)


def test_the_tolerance_is_kept_to(done, changed):
    folder, change = changed
    change("manifest.json", merged(ELSEWHERE))
    change("results.json", lambda old: merged({"test": {"mse": old["test"]["mse"] * 1.02}})(old))
    with pytest.raises(NotReproduced, match=r"1 of \d+ .* within 0\.01; the first is test\.mse"):
        again(folder, done[1])
    assert again(folder, done[1], tolerance=0.03)[0]["largest_relative_difference"] == pytest.approx(0.02, rel=0.1)


def test_what_has_no_part_in_the_bits_is_told_and_they_are_asked_for(done, changed):
    folder, change = changed
    change("manifest.json", merged({"host": "elsewhere", "packages": {"pytest": "1"}, "code": {"commit": "abc"}}))
    report, said = again(folder, done[1])
    assert report["tolerance"] is None
    assert "host: elsewhere -> " in said[0]
    assert said[0].count("(no part in the bits)") == len(report["differences"]) == 3


def test_other_data_are_refused_and_nothing_is_made(changed, tmp_path):
    folder, change = changed
    change("manifest.json", merged({"data": {"sha256": "0" * 64}}))
    with pytest.raises(DataError, match="not the data of the run"):
        again(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_run_that_is_not_finished_or_has_another_config_is_refused(changed):
    folder, change = changed
    change("results.json", lambda old: {**old, "stopped": "request"})
    with pytest.raises(ConfigError, match=r"stopped before its end \(request\)"):
        read_original(folder)
    change("results.json", lambda old: {k: v for k, v in old.items() if k != "stopped"})
    (folder / "results.json").unlink()
    with pytest.raises(ConfigError, match="not finished"):
        read_original(folder)
    change("config.json", lambda old: {**old, "seed": 1})
    with pytest.raises(DataError, match="not the config that the run began with"):
        read_original(folder)


@pytest.mark.long
def test_the_script_on_another_number_of_devices(changed, root, tmp_path):
    """The tests have four devices and a user has one, so this is done in earnest within the tolerance."""
    folder, change = changed
    command = [sys.executable, root / "scripts" / "reproduce.py", folder, f"--workdir={tmp_path / 'out'}"]

    def ended(*flags):
        return subprocess.run([*command, *flags], capture_output=True, text=True, timeout=250)

    first = ended()
    assert (first.returncode, first.stderr) == (0, "")
    assert "jax.device_count: 4 -> 1" in first.stdout and "is reproduced within 0.0" in first.stdout
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([row["loss"] for row in rows]).all()
    change("results.json", lambda old: merged({"test": {"nll_nats": old["test"]["nll_nats"] * (1 + 1e-12)}})(old))
    second = ended("--tolerance=0")
    assert second.returncode == 77 and second.stderr.startswith("error: ") and second.stderr.count("\n") == 1
    assert "figure " in second.stdout and "then" in second.stdout
