"""Configs: overrides, defaults, canonical JSON, and one-line errors; all without JAX."""

import functools
import hashlib
import json

import pytest

from tests.processes import python
from tests.refusals import refusal
from tests.variants import CONFIGS, all_variants, load
from vae_jax import config
from vae_jax.build import components
from vae_jax.errors import ConfigError

VAE = "digits.py:variant=vae"


@pytest.fixture
def write(tmp_path):
    """Write a config file next to a copy of base.py and return its path."""

    def write(lines, folder="a"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "base.py").write_text((CONFIGS / "base.py").read_text())
        path = tmp_path / folder / "mine.py"
        body = "\n".join(f"    {line}" for line in lines)
        path.write_text(f"from base import get_config as get_base, set_vae\ndef get_config():\n{body}\n")
        return str(path)

    return write


def test_base_has_every_field_of_every_component():
    base = config.read_config(f"{CONFIGS}/base.py")
    for path, home in config.COMPONENTS.items():
        group = functools.reduce(lambda tree, name: tree[name], path.split("."), base)
        for name, component in components(home).items():
            assert set(component.fields) <= set(group), f"{path}.name={name}"


def refused(spec, overrides=None):
    return refusal(config.load, spec, overrides, error=ConfigError)


@pytest.mark.parametrize("variant", all_variants())
def test_every_variant_survives_json(variant):
    settings = load(variant)
    text = config.to_json(settings)
    assert config.to_json(config.from_json(text)) == text
    assert config.fingerprint(settings) == hashlib.sha256(text.encode()).hexdigest()
    assert settings.model.encoder.to_dict() == config.from_json(text).model.encoder.to_dict()


def test_no_two_variants_are_the_same():
    variants = all_variants()
    assert len({config.fingerprint(load(variant)) for variant in variants}) == len(variants) > 10


@pytest.mark.parametrize(
    "field, text, value",
    [
        ("train.epochs", "7", 7),
        ("hypers.learning_rate", "1e-2", 0.01),
        ("hypers.beta", "4", 4.0),
        ("model.condition", "True", True),
        ("model.condition", "0", False),
        ("model.encoder.hidden", "(32, 64)", (32, 64)),
        ("model.encoder.hidden", "32,64", (32, 64)),
        ("model.encoder.hidden", "[32]", (32,)),
        ("model.encoder.hidden", "32", (32,)),
        ("model.encoder.hidden", "", ()),
        ("train.patience_epochs", "3", 3),
        ("train.patience_epochs", "None", None),
        ("data.pixels", "threshold", "threshold"),
    ],
)
def test_text_is_read_as_the_type_of_the_field(field, text, value):
    settings = config.load(f"{CONFIGS}/{VAE}", {field: text})
    found = dict(config.flatten(settings.to_dict()))[field]
    assert (found, type(found)) == (value, type(value))


def test_what_is_unset_gets_the_default_of_its_component():
    settings = load(VAE)
    assert settings.optimizer.to_dict() == {"name": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8}
    assert settings.schedule.to_dict() == {"name": "warmup_cosine", "warmup_epochs": 1.0, "final_fraction": 0.01}
    assert settings.model.num_samples == 1
    assert settings.data.corruption is None
    assert set(settings.hypers) == {"learning_rate", "beta", "kl_warmup_epochs"}
    assert "distance" not in settings.model


def test_the_decoder_mirrors_the_encoder_unless_told_otherwise():
    assert load(VAE).model.decoder.hidden == (64, 128, 256)
    conv = load("digits.py:variant=conv", model__encoder__channels=(8, 16, 32), model__decoder__hidden=(7,))
    assert (conv.model.decoder.channels, conv.model.decoder.hidden) == ((32, 16, 8), (7,))
    assert conv.model.decoder.kernel == conv.model.encoder.kernel == 3


def test_decoder_of_another_kind_mirrors_what_it_can():
    mixed = load("digits.py:variant=conv", model__encoder__hidden="9,8", model__decoder__name="mlp")
    assert mixed.model.decoder.to_dict() == {"name": "mlp", "hidden": (8, 9), "activation": "gelu"}


def test_none_turns_a_component_off():
    off = load("digits.py:variant=denoising", data__corruption__name="None", data__corruption__scale="None")
    assert off.data.corruption is None


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"train.batch_sise": "3"}, "config field 'train.batch_sise' is unknown (did you mean \"train.batch_size\"?)"),
        ({"train.epochs.x": "3"}, "config field 'train.epochs.x' is unknown"),
        ({"train": "3"}, "config field 'train' is a group; set one of: train.batch_size, "),
        ({"hypers.learning_rate": "abc"}, "hypers.learning_rate='abc' has the wrong type: expected a number"),
        ({"train.batch_size": "1e3"}, "train.batch_size='1e3' has the wrong type: expected a whole number"),
        ({"train.batch_size": 1.5}, "train.batch_size=1.5 has the wrong type: expected a whole number"),
        ({"train.batch_size": True}, "train.batch_size=True has the wrong type: expected a whole number"),
        ({"hypers.beta": True}, "hypers.beta=True has the wrong type: expected a number"),
        ({"hypers.beta": [1.0]}, "hypers.beta=[1.0] has the wrong type: expected a number"),
        ({"model.condition": "maybe"}, "model.condition='maybe' has the wrong type: expected true or false"),
        ({"model.encoder.hidden": "64,a"}, "model.encoder.hidden='64,a' has the wrong type: expected whole numbers"),
        ({"data.pixels": "dynamc"}, "data.pixels='dynamc' is unknown (did you mean \"dynamic\"?)"),
        ({"data.name": "digit"}, "data.name='digit' is unknown (did you mean \"digits\"?)"),
        ({"model.likelihood.name": "None"}, "model.likelihood is not set, and 'vae' needs it"),
        ({"optimizer.name": "None"}, "optimizer.name is not set"),
        ({"model.name": "None"}, "model.name is not set"),
        ({"data.corruption.scale": "0.3"}, "data.corruption.scale is set, but data.corruption.name is not"),
        ({"hypers.weight_decay": "0.1"}, "hypers.weight_decay is set, but nothing in this config reads it"),
        ({"optimizer.name": "adamw"}, "hypers.weight_decay is not set, and optimizer.name='adamw' needs it"),
        ({"hypers.kl_warmup_epochs": "None"}, "hypers.kl_warmup_epochs is not set, and model.objective.name='elbo'"),
        ({"hypers.learning_rate": "None"}, "hypers.learning_rate is not set, and every optimizer needs it"),
    ],
    ids=str,
)
def test_bad_overrides_are_refused(overrides, message):
    assert message in refused(f"{CONFIGS}/{VAE}", overrides)


def test_an_error_of_a_config_file_names_file_and_line(write):
    path = write(["config = set_vae(get_base())", "config.train.batch_size = 1.5", "return config"])
    message = refused(path)
    assert message.startswith(f"{path}, line 4, failed: TypeError: ")
    assert "'batch_size'" in message and "1.5" in message


@pytest.mark.parametrize(
    "line, message",
    [
        ("config.train.epocs = 5", "config field 'train.epocs' is unknown (did you mean \"train.epochs\"?)"),
        ("config.trian = {'epochs': 5}", "config field 'trian.epochs' is unknown (did you mean \"train.epochs\"?)"),
        ("config.train = {'epochs': 5}", "train.batch_size is not set"),
        ("config.seed = None", "seed is not set; expected a whole number"),
        ("config.evaluate.batch_size = None", "evaluate.batch_size is not set"),
        ("config.train.batch_size = True", "train.batch_size=True is not allowed: expected a whole number"),
        ("config.hypers = None", "hypers is not set"),
        ("config.model.encoder.hidden = (64, 'a')", "model.encoder.hidden=(64, 'a') is not allowed: expected widths"),
        ("config.hypers.bta = 1.0", "hypers.bta is set, but nothing in this config reads it"),
        ("config = None", "get_config() returned NoneType, expected a ConfigDict"),
        ("config.train.select", None),
    ],
)
def test_mistakes_in_a_config_file_are_refused(write, line, message):
    path = write(["config = set_vae(get_base())", line, "return config"])
    if message is None:  # the frame around the mistakes is sound
        assert config.load(path).train.select == "best"
    else:
        assert message in refused(path)


def test_files_that_are_no_configs_are_refused(tmp_path):
    good = tmp_path / "good.py"
    good.write_text("def get_config(:\n")
    assert refused(str(good)).startswith(f"{good} failed: SyntaxError: ") and "line 1" in refused(str(good))
    good.write_text("")
    assert "has no attribute 'get_config'" in refused(str(good))
    assert f"no config file '{tmp_path}/god.py' (did you mean \"{good}\"?)" in refused(f"{tmp_path}/god.py")
    (tmp_path / "notes.txt").write_text("x")
    assert "its name must end in .py" in refused(f"{tmp_path}/notes.txt")
    assert "takes 0 positional arguments" in refused(f"{CONFIGS}/base.py:variant=vae")


def test_each_folder_has_its_own_base(write):
    lines = ["config = set_vae(get_base())", "return config"]
    first, second = write(lines, folder="a"), write(lines, folder="b")
    with open(second.replace("mine.py", "base.py"), "a") as file:
        file.write(
            "\n_old = get_config\ndef get_config():\n    config = _old()\n    config.seed = 9\n    return config\n"
        )
    assert [config.load(path).seed for path in (first, second, first)] == [0, 9, 0]


@pytest.mark.parametrize(
    "arg, expected",
    [
        ("", {"variant": "vae", "runlocal": False, "size": 3}),
        ("runlocal", {"variant": "vae", "runlocal": True, "size": 3}),
        ("variant=conv,size=8,runlocal=false", {"variant": "conv", "runlocal": False, "size": 8}),
    ],
)
def test_parse_arg_reads_by_the_types_of_the_defaults(arg, expected):
    assert config.parse_arg(arg, variant="vae", runlocal=False, size=3) == expected


@pytest.mark.parametrize(
    "arg, message",
    [
        ("varient=conv", "config argument 'varient' is unknown (did you mean \"variant\"?); known: variant, size"),
        ("variant", "config argument 'variant' needs a value"),
        ("size=x", "config argument size='x' has the wrong type: expected a whole number"),
        ("size=3,size=4", "config argument 'size' is given twice"),
    ],
)
def test_parse_arg_refuses(arg, message):
    assert message in refusal(config.parse_arg, arg, variant="vae", size=3, error=ConfigError)


def test_the_same_number_written_otherwise_is_the_same_config():
    one, two, other = (load(VAE, hypers__beta=text) for text in ("4", "4.0", "4.1"))
    assert config.fingerprint(one) == config.fingerprint(two) != config.fingerprint(other)


def test_json_is_sorted_and_never_holds_nan():
    text = config.to_json({"b": (1, 2), "a": 0.5})
    assert json.loads(text) == {"a": 0.5, "b": [1, 2]} and text.index('"a"') < text.index('"b"')
    with pytest.raises(ValueError):
        config.to_json({"a": float("nan")})


def test_differences_name_each_field_once():
    old, new = load(VAE), load(VAE, seed="3", optimizer__name="sgd")
    assert config.differences(old, old) == []
    assert config.differences(old, config.from_json(config.to_json(old))) == []
    assert config.differences(old, new) == [
        "optimizer.b1: 0.9 -> unset",
        "optimizer.b2: 0.999 -> unset",
        "optimizer.eps: 1e-08 -> unset",
        "optimizer.momentum: unset -> 0.0",
        "optimizer.name: adam -> sgd",
        "seed: 0 -> 3",
    ]


def test_checking_a_config_and_loading_data_import_no_jax():
    found = python(
        "import sys; from vae_jax import cli, config; from vae_jax.data.load import load_dataset; "
        f"load_dataset(config.load({str(CONFIGS / VAE)!r}), None); "
        "print([m for m in ('jax', 'flax', 'optax', 'orbax') if m in sys.modules])"
    )
    assert found == "[]\n"


@pytest.mark.parametrize("variant", all_variants())
def test_every_variant_has_a_run_of_seconds(variant):
    assert load(f"{variant},runlocal").train.epochs <= load(variant).train.epochs
