"""A likelihood is given only pixels that it has a probability for; the rest is refused before anything is compiled."""

import numpy as np
import pytest

from tests.variants import all_variants, load, load_small
from vae_jax.data.dataset import Dataset, Split
from vae_jax.data.feed import make_spec
from vae_jax.errors import ConfigError
from vae_jax.trained import make_model
from vae_jax.types import Spec

LEVELS = {"digits": 16, "binarized_mnist": 1, "sprites": 1}  # stored value of white; of all others 255


def model_of(likelihood, values):
    config = load("digits.py:variant=vae", model__likelihood__name=likelihood, model__encoder__hidden=(4,))
    return make_model(config, Spec((4, 4, 1), 0, np.full((4, 4, 1), 0.5, np.float32), values))


@pytest.mark.parametrize("values, found", [("levels", "k/255"), ("unit", r"any value in \[0, 1\]")])
def test_bernoulli_refuses_gray_pixels_and_says_what_to_do(values, found):
    message = (
        f"model.likelihood.name='bernoulli' takes pixels of 0 and 1, and the data have {found}; set data.pixels to"
    )
    with pytest.raises(ConfigError, match=message):
        model_of("bernoulli", values)


@pytest.mark.parametrize("values", ["binary", None])
def test_bernoulli_takes_binary_pixels_and_a_model_that_is_not_to_be_trained_any(values):
    assert model_of("bernoulli", values).log_weights


@pytest.mark.parametrize("likelihood", ["beta_binomial", "discretized_logistic", "logistic_mixture", "categorical"])
def test_masses_of_levels_take_levels_and_refuse_what_lies_between(likelihood):
    assert model_of(likelihood, "binary").log_weights and model_of(likelihood, "levels").log_weights
    with pytest.raises(ConfigError, match=f"'{likelihood}' takes pixels of k/255, and the data have any value"):
        model_of(likelihood, "unit")


@pytest.mark.parametrize("values", ["binary", "levels", "unit"])
@pytest.mark.parametrize(
    "likelihood",
    [
        *(f"gaussian{kind}" for kind in ("", "_shared_scale", "_optimal", "_pixel_scale")),
        "laplace",
        "continuous_bernoulli",
    ],
)
def test_densities_take_all_pixels(likelihood, values):
    assert model_of(likelihood, values).log_weights


@pytest.mark.parametrize("variant", all_variants())
def test_every_config_has_pixels_for_its_likelihood(variant):
    config = load_small(variant)
    images = np.zeros((2, 28, 28, 3), np.uint8)
    splits = {name: Split(images) for name in ("train", "validation", "test")}
    dataset = Dataset(config.data.name, splits, LEVELS.get(config.data.name, 255), 10, "")
    assert make_model(config, make_spec(dataset, config.data.pixels)).init
