"""The zoo's table: true to the configs, the code and the results."""

import inspect

import pytest

from scripts import zoo as script
from tests.conftest import ROOT
from tests.variants import CONFIGS, all_variants
from vae_jax.objectives import importance
from vae_jax.reporting import zoo


@pytest.fixture(scope="module")
def variants():
    return {v.spec: v for v in zoo.variants(CONFIGS)}


def test_the_table_in_the_docs_is_the_present_one():
    script.main(["--check"])


def test_every_variant_is_in_it_with_a_text_that_names_its_source(variants):
    assert set(variants) == {v for v in all_variants() if v.startswith("zoo_")}
    for v in variants.values():
        assert len(v.text) > 20, v.spec


def test_a_component_counts_its_own_lines_and_those_it_leads_to(variants):
    assert variants["zoo_vae.py:variant=vae"].lines == 0
    source = inspect.getsource(importance.iwae), inspect.getsource(importance._log_mean)
    assert variants["zoo_vae.py:variant=iwae"].lines == sum(len(text.splitlines()) for text in source)


@pytest.mark.parametrize(
    "spec, rung", [("vae.py:variant=beta", 0), ("latents.py:variant=vamp", 1), ("ladder.py:variant=two_layers", 2)]
)
def test_rungs(variants, spec, rung):
    assert variants[f"zoo_{spec}"].rung == rung


def test_variants_are_short_on_average(variants):
    total = zoo.total_lines(CONFIGS)
    assert max(v.lines for v in variants.values()) < total < sum(v.lines for v in variants.values())
    assert total <= 60 * len(variants)


def test_no_file_is_long():
    for path in (ROOT / "vae_jax").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 260, path


def test_figures_are_of_the_last_row_without_overrides():
    command = "python scripts/train.py --config=configs/zoo_vae.py:variant=vae --data_dir=DATA"
    rows = [
        {"command": command, "test": {"neg_elbo_nats": 99.5}, "seconds_total": 10.0},
        {"command": command, "test": {"neg_elbo_nats": 98.126, "active_units": 20}, "seconds_total": 12.4},
        {"command": f"{command} --config.seed=1", "test": {"neg_elbo_nats": 1.0}, "seconds_total": 1.0},
    ]
    line = next(line for line in zoo.table(CONFIGS, rows).splitlines() if line.startswith("| `vae` |"))
    assert line.endswith("| 0 | 0 | -ELBO 98.13, 20 active | 12 |")
