"""Components are what their source says: names, fields and hyperparameters, all without importing them."""

import importlib
import inspect
import pkgutil

import pytest

from tests.refusals import refusal
from vae_jax.build import REQUIRED, build, component, components, fill, nearest
from vae_jax.config import COMPONENTS
from vae_jax.errors import ConfigError

HOMES = sorted({*COMPONENTS.values(), "data.sources", "data.pixels"})


@pytest.mark.parametrize("home", HOMES)
def test_source_and_import_agree(home):
    assert components(home)
    for name, found in components(home).items():
        function = getattr(importlib.import_module(found.module), found.function)
        keyword_only = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        expected = {p.name: REQUIRED if p.default is p.empty else p.default for p in keyword_only}
        assert found.fields == expected
        assert function.__module__ == found.module
        assert name == (found.module.rpartition(".")[2] if found.function == "make" else found.function)


@pytest.mark.parametrize("home", [home for home in HOMES if home not in ("models", "objectives")])
def test_every_public_function_of_a_module_is_a_component(home):
    whole = importlib.import_module(f"vae_jax.{home}")
    inner = [f"{whole.__name__}.{found.name}" for found in pkgutil.iter_modules(getattr(whole, "__path__", []))]
    found = set()
    for module in [whole, *map(importlib.import_module, inner)]:
        functions = inspect.getmembers(module, inspect.isfunction)
        found |= {name for name, f in functions if f.__module__ == module.__name__ and not name.startswith("_")}
    assert found == set(components(home))


def test_a_file_with_make_is_one_component_and_needs_what_has_no_default():
    found = components("models")["vae"]
    assert (found.module, found.function) == ("vae_jax.models.vae", "make")
    assert found.fields["latent"] is REQUIRED
    assert found.fields["condition"] is False


@pytest.mark.parametrize(
    "home, name, hypers",
    [
        ("training.optimizers", "adamw", {"weight_decay"}),
        ("training.optimizers", "adam", set()),
        ("objectives", "elbo", {"beta", "kl_warmup_steps"}),
    ],
)
def test_hyperparameters_are_those_read_in_the_source(home, name, hypers):
    assert components(home)[name].hypers == hypers


def test_fill_completes_with_defaults_and_takes_none_as_not_given():
    given = {"name": "conv", "channels": (8,), "kernel": None}
    assert fill("nn.encoders", given, "model.encoder") == {
        "name": "conv",
        "channels": (8,),
        "kernel": 4,
        "stride": 2,
        "hidden": (256,),
        "activation": "relu",
    }


@pytest.mark.parametrize(
    "home, given, message",
    [
        (
            "nn.encoders",
            {"name": "cnn"},
            "x.name='cnn' is unknown (did you mean \"conv\"?); known: conv, gated_mlp, mixer, mlp, resnet",
        ),
        ("nn.encoders", {"name": "mlp", "kernel": 3}, "x.kernel is set, but 'mlp' does not take it (it takes hidden"),
        ("prob.distances", {"name": "mse", "scale": 1.0}, "'mse' does not take it (it takes no fields)"),
        ("models", {"name": "vae", "latent": 2}, "x.encoder is not set, and 'vae' needs it"),
    ],
)
def test_fill_refuses(home, given, message):
    assert message in refusal(fill, home, given, "x", error=ConfigError)


def test_a_private_function_is_no_component():
    assert "_draw" not in components("data.corruptions")
    with pytest.raises(ConfigError, match="_draw"):
        component("data.corruptions", "_draw", "data.corruption.name")


def test_build_binds_the_fields_and_drops_the_name():
    made = build("data.corruptions", {"name": "masking", "probability": 0.25, "scale": None})
    assert (made.func.__name__, made.keywords) == ("masking", {"probability": 0.25})
    assert made.func.__module__ == "vae_jax.data.corruptions"


@pytest.mark.parametrize(
    "name, expected", [("bernouli", ' (did you mean "bernoulli"?)'), ("zzz", ""), (None, ""), ("", "")]
)
def test_nearest_suggests_only_what_is_near(name, expected):
    assert nearest(name, ["bernoulli", "gaussian"]) == expected
