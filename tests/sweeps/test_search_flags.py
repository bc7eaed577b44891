"""The flags of a search: which go together, and what they must have in common with those before."""

import sys
import types

import pytest

from vae_jax.errors import ConfigError
from vae_jax.sweeps import folder as sweeps
from vae_jax.sweeps import search_flags


def flags(**given):
    names = ("search", "parallel", "prune", "metric", "search_seed", "num", "sweep")
    args = dict.fromkeys(names) | {"range": [], "set": [], "zip": []} | given
    return types.SimpleNamespace(**args)


REFUSED = [
    ({"search": "tpe", "metric": "test.nll_nats"}, "has seen the test data"),
    ({"search": "tpi"}, "search=tpi is unknown .*tpe"),
    ({"search": "tpe", "prune": "median"}, "prune=median is unknown"),
    ({"search": "tpe", "parallel": 0}, "expected 1 or more"),
    ({"search": "tpe", "range": []}, "draws out of --range"),
    ({"search": "random", "num": None}, "has --num"),
    ({"search": "random", "set": ["seed=1,2"]}, "no --set"),
    ({"search": "grid"}, "has no --range"),
    ({"prune": "asha"}, "prune is for --search"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_flags_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        search_flags.read(flags(**{"range": ["hypers.beta=uniform(0,1)"], "num": 4} | given), [])


def test_optuna_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'vae_jax\[sweep\]'"):
        search_flags.read(flags(search="tpe", range=["hypers.beta=uniform(0,1)"], num=4), [])


def test_another_search_in_the_folder_is_refused_with_what_differs(tmp_path):
    asked = [search_flags.settings(flags(search="tpe", range=["a=1,2"], search_seed=seed)) for seed in (None, 3)]
    with sweeps.open_sweep(tmp_path / "sweep", asked[0]):
        pass
    with (
        pytest.raises(ConfigError, match=r"\(search.search_seed: 0 -> 3\)"),
        sweeps.open_sweep(tmp_path / "sweep", asked[1]),
    ):
        pass
