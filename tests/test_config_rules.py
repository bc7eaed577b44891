"""The values that fields may take: the borders of every rule, and the relations between fields."""

import pytest
from flax import nnx

from tests.variants import CONFIGS
from vae_jax import config
from vae_jax.build import components
from vae_jax.config_rules import _RULES, ACTIVATIONS, check_values
from vae_jax.errors import ConfigError

CONV = f"{CONFIGS}/digits.py:variant=conv"


def load(*pairs):
    return config.load(CONV, dict(pairs))


BORDERS = [  # field, last value allowed, first value refused
    ("seed", "0", "-1"),
    ("seed", "4294967295", "4294967296"),
    ("data.seed", "0", "-1"),
    ("model.latent", "1", "0"),
    ("model.num_samples", "1", "0"),
    ("model.encoder.channels", "1,1", "0,1"),
    ("model.encoder.channels", "1", ""),
    ("model.encoder.hidden", "", "0"),
    ("model.encoder.hidden", "3,1", "3,-1"),
    ("model.encoder.kernel", "2", "0"),
    ("model.encoder.stride", "1", "0"),
    ("model.encoder.stride", "3", "4"),
    ("hypers.learning_rate", "1e-9", "0"),
    ("hypers.beta", "0", "-1e-9"),
    ("hypers.kl_warmup_epochs", "0", "-1"),
    ("hypers.kl_warmup_epochs", "200", "200.5"),
    ("optimizer.b1", "0", "1"),
    ("optimizer.b2", "0.9999", "1"),
    ("optimizer.eps", "1e-30", "0"),
    ("schedule.warmup_epochs", "0", "-1"),
    ("schedule.warmup_epochs", "199", "200"),
    ("schedule.final_fraction", "1", "1.1"),
    ("train.batch_size", "1", "0"),
    ("train.epochs", "300", "0"),
    ("train.steps_per_call", "1", "0"),
    ("train.eval_every_epochs", "1", "0"),
    ("train.patience_epochs", "1", "0"),
    ("train.clip_norm", "0.1", "0"),
    ("train.ema_decay", "0", "1"),
    ("checkpoint.keep", "1", "0"),
    ("checkpoint.every_seconds", "0", "-1"),
    ("evaluate.batch_size", "1", "0"),
    ("evaluate.num_importance_samples", "1", "0"),
]


@pytest.mark.parametrize("field, allowed, refused", BORDERS)
def test_borders(field, allowed, refused):
    assert dict(config.flatten(load((field, allowed)).to_dict()))[field] is not None
    with pytest.raises(ConfigError, match=rf"^{field}=.* (is not allowed: expected|is more than|leaves|skips) "):
        load((field, refused))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("field", sorted({f for f, good, _ in BORDERS if "e" in good or "." in good} | {"hypers.beta"}))
def test_only_finite_numbers(field, value):
    with pytest.raises(ConfigError, match=f"{field}={value} is not allowed: expected a number"):
        load((field, value))


@pytest.mark.parametrize(
    "field, value, expected",
    [("model.encoder.activation", "relux", "one of relu, leaky_relu"), ("train.select", "worst", "one of best, last")],
)
def test_choices(field, value, expected):
    with pytest.raises(ConfigError, match=f"{field}='{value}' is not allowed: expected {expected}"):
        load((field, value))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_exists(name):
    assert callable(getattr(nnx, name))


def test_the_decoder_has_its_own_stride_rule():
    with pytest.raises(ConfigError, match=r"model\.decoder\.stride=5 skips pixels: it must not exceed kernel=3"):
        load(("model.decoder.stride", "5"))


@pytest.mark.parametrize(
    "value",
    [float("nan"), (1.0, float("inf")), object(), {1}, b"x"],
    ids=["nan", "inf in a tuple", "object", "set", "bytes"],
)
def test_a_field_without_a_rule_still_holds_only_what_json_can(value):
    tree = load().to_dict()
    tree["model"]["encoder"]["new"] = (1.5, "text", True)
    check_values(tree)
    tree["model"]["encoder"]["new"] = value
    with pytest.raises(ConfigError, match=r"model\.encoder\.new=.* is not allowed"):
        check_values(tree)


def test_every_field_of_every_component_has_a_rule():
    groups = {path.rpartition(".")[2] for path in config.COMPONENTS}
    fields = {f for home in config.COMPONENTS.values() for c in components(home).values() for f in c.fields}
    assert fields - groups <= set(_RULES)
    hypers = {h for home in config.COMPONENTS.values() for c in components(home).values() for h in c.hypers}
    assert {h.replace("_steps", "_epochs") for h in hypers} <= set(_RULES)


@pytest.mark.parametrize(
    "variant", ["autoencoders.py:variant=wae_imq", "disentangling.py:variant=dip_i", "autoencoders.py:variant=wae_rbf"]
)
def test_losses_of_whole_batches_need_two_examples(variant):
    with pytest.raises(ConfigError, match=r"train\.batch_size=1 leaves nothing to compare"):
        config.load(f"{CONFIGS}/zoo_{variant}", {"train.batch_size": 1})
