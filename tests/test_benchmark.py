"""The benchmark runs, counts operations rightly and says what it could not measure. No speed is asserted."""

import importlib.util
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.refusals import script_refusal
from tests.script import output_of
from vae_jax.benchmark import flax_example, ours, settings
from vae_jax.benchmark.data import write_data
from vae_jax.benchmark.machine import describe
from vae_jax.benchmark.process import Failed, Process
from vae_jax.benchmark.scaling import panels
from vae_jax.benchmark.settings import NETS, Setting, Unavailable, choose, likelihood_flops, train_flops
from vae_jax.benchmark.table import markdown
from vae_jax.errors import ConfigError


@pytest.mark.long
def test_a_quick_run_of_ours_writes_json_and_the_table_it_prints(tmp_path):
    out = tmp_path / "b.json"
    printed = output_of("benchmark", "--quick", "--only=ours", f"--out={out}")
    result, table = json.loads(out.read_text()), out.with_suffix(".md").read_text()
    (row,) = result["rows"]
    assert (row["contender"], row["net"], row["batch_size"], row["precision"]) == ("ours", "mlp", 128, "fp32")
    assert row["images_per_second"] > 0 and row["ours_over_this"] == 1 and 0 < row["loss_nats"] < 784
    assert row["seconds_to_first_step"] > row["compile_seconds"] > 0 and row["peak_rss_mb"] > 50
    assert len(row["images_per_second_by_round"]) == result["plan"]["rounds"] == 1
    assert {"cpu", "cores", "memory_gb", "load_before", "versions"} <= result["machine"].keys()
    assert table in printed and "| mlp | 128 | fp32 | ours |" in table


@pytest.mark.long
def test_a_quick_run_of_scaling_has_rows_of_every_axis_a_table_and_a_picture(tmp_path):
    out = tmp_path / "s.json"
    printed = output_of("benchmark", "--what=scaling", "--quick", f"--out={out}")
    rows, table = json.loads(out.read_text())["rows"], out.with_suffix(".md").read_text()
    assert not any("skipped" in row for row in rows) and table in printed
    cases = [(row["axis"], row["value"], row["net"], row["batch_size"], row["contender"]) for row in rows]
    assert cases == [
        ("batch size", 32, "mlp", 32, "ours"),
        ("width", 64, "mlp", 128, "ours"),
        ("members", 1, "small_mlp", 64, "ours"),
        ("members", 1, "small_mlp", 64, "ours_members"),
        ("devices", 2, "mlp", 1024, "ours"),
    ]
    for row in rows:
        assert row["images_per_second"] * row["ms_per_step"] == pytest.approx(1e3 * row["batch_size"])
        assert row["fraction_of_peak"] == pytest.approx(row["gflops"] / row["peak_gflops"]) and row["peak_rss_mb"] > 50
        assert f"| {row['axis']} | {row['value']} | {row['net']} | {row['batch_size']} | fp32 |" in table
        assert f"| {row['images_per_second']:,.0f} | {row['ms_per_step']:,.2f} |" in table
    assert rows[4]["device"] == "cpu, cpu" and table.count("share the cores") == 1
    operations = [row["gflops"] / row["images_per_second"] * 1e9 for row in rows[:2]]
    narrow = NETS["mlp"]._replace(hidden=(64,))
    assert operations == pytest.approx([train_flops(NETS["mlp"]), train_flops(narrow)])
    assert Image.open(out.with_suffix(".png")).size == (1200, 960)


def test_a_picture_of_scaling_has_a_line_for_each_curve_and_leaves_out_what_failed():
    case = {"axis": "batch size", "net": "mlp", "precision": "fp32", "contender": "ours"}
    rows = [{**case, "value": 32 << i, "ms_per_step": 1.0 + i} for i in range(3)]
    rows += [{**case, "precision": "bf16", "value": 32, "ms_per_step": 0.5}, {**case, "value": 256, "skipped": "no"}]
    members = {**case, "axis": "members", "net": "small_mlp"}
    rows += [{**members, "value": 1, "ms_per_step": 3.0}, {**members, "axis": "width", "value": 64, "skipped": "no"}]
    rows += [{**members, "contender": "ours_members", "value": m, "ms_per_step": 2.0 * m} for m in (1, 2)]
    batch, together = panels(rows)
    assert batch.lines == {"mlp fp32": ([32, 64, 128], [1.0, 2.0, 3.0]), "mlp bf16": ([32], [0.5])}
    assert batch.guides == {"in proportion": ([32, 64, 128], [0.75, 1.5, 3.0])}
    assert list(together.lines.values()) == [([1, 2], [2.0, 4.0])]
    assert list(together.guides.values()) == [([1, 2], [3.0, 6.0])]


def test_devices_that_are_not_there_are_not_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    assert Process(Setting("matmul", "jax", batch_size=8, devices=3), tmp_path).device == "cpu, cpu, cpu"
    with pytest.raises(Unavailable, match=f"3 are asked for, JAX finds {jax.local_device_count()}"):
        ours.train(Setting("train", "ours", devices=3))


@pytest.mark.parametrize("flag", ["--only=ours", "--nets=mlp", "--num_members=2"])
def test_scaling_refuses_flags_that_it_would_not_heed(flag):
    said = script_refusal(2, "benchmark", "--what=scaling", flag)
    assert said.startswith(f"error: {flag.partition('=')[0]} is not for --what=scaling")


def test_a_contender_that_cannot_take_part_says_why(tmp_path):
    with pytest.raises(Failed, match=r"the process ended with code 1: .*train\.npy"):
        Process(Setting("train", "flax", data=str(tmp_path)), tmp_path)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("torch", "pythae") else name)
    names, missing = choose("train", None)
    assert names == ["ours", "flax"] and missing.keys() == set(settings.CONTENDERS["train"]) - set(names)
    assert "torch is not installed: pip install" in missing["torch_compile"]
    with pytest.raises(ConfigError, match="torch is not installed"):
        choose("train", "ours,torch")
    with pytest.raises(ConfigError, match="did you mean"):
        choose("train", "torch_compiled")


@pytest.mark.parametrize("flag", ["--only=none", "--nets=none", "--batch_sizes=1e3", "--precisions=fp8", "--rounds=0"])
def test_mistakes_are_one_line_and_2(flag):
    assert script_refusal(2, "benchmark", "--quick", flag).startswith(f"error: {flag}")


def test_the_table_leaves_out_what_nobody_has_and_lists_what_failed():
    case = {"net": "mlp", "batch_size": 128, "precision": "fp32"}
    rows = [
        {**case, "contender": "ours", "images_per_second": 1234.5, "steps": 7, "fraction_of_peak": 0.25},
        {**case, "contender": "torch", "images_per_second": 617.25, "steps": 9, "ours_over_this": 2.0},
        {"contender": "pythae", "skipped": "pythae is not installed"},
    ]
    plan = {"rounds": 5}
    table = markdown({"what": "train", "machine": describe(), "plan": plan, "data": {"mlp": "noise"}, "rows": rows})
    assert "| network | batch | precision |  | images/s | ours / this | of its library's peak |\n" in table
    assert "| mlp | 128 | fp32 | torch | 617 | 2.00 |  |\n" in table
    assert "Medians of 5 rounds, in each 7 to 9 steps" in table
    assert table.endswith("- pythae: pythae is not installed\n")


@pytest.mark.parametrize("name", NETS)
def test_operations_are_those_that_xla_counts(name):
    """XLA counts elementwise work too, and passes over products with padding."""
    net = flax_example.Vae(NETS[name], jnp.float32)
    x, noise = jnp.zeros((2, *NETS[name].shape)), jnp.zeros((2, NETS[name].latent))
    params = jax.eval_shape(net.init, jax.random.key(0), x, noise)
    forward = jax.jit(net.apply).lower(params, x, noise).cost_analysis()["flops"] / 2
    assert forward == pytest.approx(likelihood_flops(NETS[name], 1), rel=0.12)


def test_operations_of_the_first_network_by_hand():
    encoder, decoder = 784 * 500 + 500 * 40, 20 * 500 + 500 * 784
    assert train_flops(NETS["mlp"]) == 2 * (3 * (encoder + decoder) - 784 * 500)
    assert likelihood_flops(NETS["mlp"], 5000) == 2 * (encoder + 5000 * decoder)


def test_data_are_zeros_and_ones_and_repeat(tmp_path):
    for name in "ab":
        write_data(tmp_path / name, (32, 32, 3), quick=True)
    files = sorted(pathlib.Path(tmp_path / "a").iterdir())
    assert [file.name for file in files] == ["test.npy", "train.npy", "validation.npy"]
    for file in files:
        images = np.load(file)
        assert images.shape[1:] == (32, 32, 3) and images.dtype == np.uint8 and set(np.unique(images)) == {0, 1}
        np.testing.assert_array_equal(images, np.load(tmp_path / "b" / file.name))
