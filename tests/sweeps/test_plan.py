"""From points to configs, and which of them are members of one program."""

import pytest

from vae_jax.errors import ConfigError
from vae_jax.sweeps.plan import grouped, resolve
from vae_jax.sweeps.points import grid

SPEC = "configs/digits.py"


def groups(points, spec=SPEC, most=None, **common):
    return grouped([point.config for point in resolve(spec, points, common)], most)


def test_a_point_is_the_config_that_train_would_have():
    (point,) = resolve(SPEC, [{"hypers.beta": "2", "model.encoder.hidden": "(64,32)"}], {"train.epochs": "3"})
    assert point.config["hypers"]["beta"] == 2.0 and point.config["train"]["epochs"] == 3
    assert point.config["model"]["decoder"]["hidden"] == (32, 64)
    assert point.overrides == {"hypers.beta": 2.0, "model.encoder.hidden": (64, 32)}


def test_values_of_a_config_file_are_taken_as_they_are():
    (point,) = resolve(SPEC, [{"hypers.beta": 2, "model.encoder.hidden": (64, 32), "seed": 4}], {})
    assert (point.config["hypers"]["beta"], point.config["seed"]) == (2.0, 4)


def test_seeds_and_hyperparameters_are_members_of_one_program():
    assert groups(grid({"hypers.beta": (1, 2), "hypers.learning_rate": (1e-3, 1e-2), "seed": range(3)})) == [
        list(range(12))
    ]


def test_what_changes_the_program_or_the_data_sets_groups_apart():
    points = grid({"model.encoder.hidden": ("(8,)", "(16,)"), "seed": (0, 1)})
    assert groups(points) == [[0, 1], [2, 3]]
    assert groups(grid({"data.seed": (0, 1)})) == [[0], [1]]
    assert groups(grid({"variant": ("vae", "conv"), "seed": (0, 1)})) == [[0, 1], [2, 3]]


def test_groups_are_no_larger_than_asked():
    assert groups(grid({"seed": range(5)}), most=2) == [[0, 1], [2, 3], [4]]


def test_a_model_that_is_refitted_runs_alone():
    spec = "configs/zoo_clustering.py:variant=vade"
    assert groups(grid({"seed": (0, 1)}), spec) == [[0], [1]]


@pytest.mark.parametrize(
    ("spec", "points", "common", "message"),
    [
        (SPEC, [{"hypers.bata": 1}], {}, r"point hypers.bata=1: .*did you mean \"hypers.beta\""),
        (SPEC, [{"hypers.beta": -1}], {}, "point hypers.beta=-1: .*0 or more"),
        (
            SPEC,
            [{"hypers.beta": "1"}, {"hypers.beta": "1.0"}],
            {},
            r"the same run: hypers\.beta=1\.0 and hypers\.beta=1\.0",
        ),
        (SPEC, [{"seed": 1}], {"seed": "2"}, "seed is set for all runs"),
        (f"{SPEC}:variant=vae", [{"variant": "conv"}], {}, "no argument of its own"),
    ],
)
def test_points_that_are_no_runs_are_refused(spec, points, common, message):
    with pytest.raises(ConfigError, match=message):
        resolve(spec, points, common)
