"""No option does nothing: a change of any field changes the parameters that five training steps end in."""

import functools

import jax
import pytest

from tests.variants import all_variants, load
from vae_jax.config import flatten
from vae_jax.config_rules import NEWER, SOURCE_FIELDS
from vae_jax.data.load import load_dataset
from vae_jax.parts import put_together
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.optim import averaged_params
from vae_jax.types import TrainState

SMALL = {"train__batch_size": 32, "train__epochs": 4, "model__encoder__hidden": (8,), "schedule__warmup_epochs": 0.05}
FIELDS = {
    "seed": 1,
    "data.seed": 1,
    "data.pixels": "threshold",
    "data.corruption.scale": 0.9,
    "model.latent": 4,
    "model.num_samples": 3,
    "model.condition": True,
    "model.encoder.hidden": (9,),
    "model.encoder.activation": "tanh",
    "model.encoder.channels": (4, 5),
    "model.encoder.kernel": 5,
    "model.encoder.stride": 1,
    "model.encoder.patch": 4,
    "model.encoder.width": 5,
    "model.encoder.depth": 1,
    "model.decoder.hidden": (9,),
    "model.decoder.activation": "tanh",
    "model.decoder.channels": (4, 5),
    "model.decoder.kernel": 5,
    "model.decoder.stride": 1,
    "model.decoder.patch": 4,
    "model.decoder.width": 5,
    "model.decoder.depth": 1,
    "model.likelihood.name": "laplace",
    "model.likelihood.min_scale": 0.2,
    "model.likelihood.scale": 0.5,
    "model.distance.name": "mae",
    "hypers.learning_rate": 5e-3,
    "hypers.beta": 4.0,
    "hypers.kl_warmup_epochs": 1.0,
    "hypers.weight_decay": 0.5,
    "optimizer.b1": 0.5,
    "optimizer.b2": 0.5,
    "optimizer.eps": 0.1,
    "schedule.name": "constant",
    "schedule.warmup_epochs": 0.1,
    "schedule.final_fraction": 0.9,
    "train.batch_size": 16,
    "train.epochs": 3,
    "train.clip_norm": 1e-3,
    "train.ema_decay": 0.5,
    "train.precision": "bf16",
}
# What the digits config must choose before a field means something, with a first value of the field.
BEFORE = {
    "hypers.weight_decay": {"optimizer__name": "adamw", "hypers__weight_decay": 0.1},
    "model.likelihood.scale": {"model__likelihood__name": "gaussian", "model__likelihood__scale": 1.0},
}
# Fields that by design do not reach the state of training; each is held by a test of its own, named here.
ELSEWHERE = {
    "data.name": "tests/data/sources/",
    **{f"data.{field}": "tests/data/sources/test_own.py" for field in SOURCE_FIELDS - {"dataset", "subset"}},
    "data.dataset": "tests/data/sources/test_hubs.py",
    "data.subset": "tests/data/sources/test_published.py",
    "data.memory_mb": "tests/data/test_stream.py",
    "data.workers": "tests/data/test_stream.py",
    "data.pairs": "tests/data/test_pairs.py",
    "model.name": "tests/models/test_conformance.py",
    "model.encoder.name": "tests/models/test_conformance.py",
    "model.decoder.name": "tests/models/test_conformance.py",
    **dict.fromkeys(("model.above", "model.width"), "tests/models/test_ladder.py"),
    "model.spectral_norm": "tests/models/test_autoencoder.py",
    **{f"model.regularizer.{f}": "tests/test_regularizers.py" for f in ("name", "kernel", "num_directions")},
    **{f"hypers.{f}_weight": "tests/test_regularizers.py" for f in ("sparsity", "contraction", "code", "prior")},
    **{f"hypers.{f}": "tests/test_regularizers.py" for f in ("activity", "decoder_weight", "gradient_weight")},
    "model.objective.name": "tests/objectives/",
    "model.objective.num_groups": "tests/objectives/test_importance.py",
    **{f"model.objective.{f}": "tests/objectives/test_disentangling.py" for f in ("kernel", "estimator")},
    **{f"hypers.{f}": "tests/objectives/test_disentangling.py" for f in ("dip_diagonal", "dip_off_diagonal")},
    **{f"hypers.{f}": "tests/objectives/test_importance.py" for f in ("alpha", "elbo_share")},
    **{f"hypers.{f}": "tests/objectives/test_elbo.py" for f in ("free_bits", "kl_cycle_epochs", "discrete_capacity")},
    **{f"hypers.{f}": "tests/objectives/test_elbo.py" for f in ("capacity", "capacity_epochs")},
    **{f"model.posterior.{f}": "tests/nn/test_posteriors.py" for f in ("name", "depth", "width", "categories")},
    "model.posterior.temperature": "tests/prob/test_one_hot.py",
    **{f"model.prior.{f}": "tests/nn/test_priors.py" for f in ("name", "components", "depth", "width", "categories")},
    **{f"model.quantizer.{f}": "tests/nn/test_quantizers.py" for f in ("name", "codes", "depth", "decay", "levels")},
    **{f"model.{f}": "tests/models/test_vq.py" for f in ("positions", "prior_depth", "prior_width")},
    "model.likelihood.num_components": "tests/prob/test_masses.py",
    **{f"data.augmentation.{f}": "tests/data/test_augmentations.py" for f in ("name", "scale", "epochs")},
    "model.components": "tests/models/test_vade.py",
    "hypers.pretrain_epochs": "tests/training/test_refit.py",
    "hypers.commitment": "tests/nn/test_quantizers.py",
    **{f"data.corruption.{field}": "tests/data/test_corruptions.py" for field in ("name", "probability", "size")},
    "optimizer.name": "tests/training/test_optim.py",
    "train.steps_per_call": "tests/test_run.py: rows of metrics.jsonl",
    "train.eval_every_epochs": "tests/test_run.py: rows of metrics.jsonl",
    "train.patience_epochs": "tests/test_run.py",
    "train.halve_patience_epochs": "tests/training/test_optim.py",
    **{f"model.discriminator.{f}": "tests/models/test_vae_gan.py" for f in ("name", "hidden", "activation")},
    "hypers.tc_weight": "tests/models/test_factor_vae.py",
    "hypers.adversary_weight": "tests/models/test_aae.py",
    "hypers.gamma": "tests/models/test_began.py",
    "hypers.k_rate": "tests/models/test_began.py",
    "train.select": "tests/test_run.py",
    "train.shard_params": "tests/training/test_sharding.py",
    "checkpoint.keep": "tests/training/test_checkpoint.py",
    "checkpoint.every_seconds": "tests/faults: resumes from the middle",
    "evaluate.batch_size": "tests/test_run.py: changes memory, no figure",
    "evaluate.num_importance_samples": "tests/test_run.py",
    "evaluate.precision": "tests/test_run.py",
}


@functools.cache
def parts_of(variant, **overrides):
    without = {"model__encoder__hidden": None} if variant.endswith("mixer") else {}
    config = load(variant, **SMALL | without | overrides)
    return put_together(config, load_dataset(config, None))


def shapes(variant, **overrides):
    params = parts_of(variant, **overrides).abstract["state"]["params"]
    return [(path, leaf.shape) for path, leaf in jax.tree.leaves_with_path(params)]


@functools.cache
def outcome(variant, **overrides):
    parts = parts_of(variant, **overrides)
    state, _ = parts.program.chunk(TrainState(**parts.start()["state"]), 0, 5)
    return state_sha256((state.params, averaged_params(state.opt_state, state.params)))


@functools.cache
def small_variant(field):
    """Return the first digits variant whose resolved config has the field; the plain one if it needs a choice first."""
    digits = (v for v in all_variants() if v.startswith("digits"))
    return next((v for v in digits if field in dict(flatten(load(v).to_dict()))), "digits.py")


def test_every_field_is_listed_here():
    fields = {f for v in all_variants() for f, value in flatten(load(v).to_dict()) if value is not None}
    fields |= {f for f, value in flatten(load("digits.py").train.to_dict(), "train.")} | set(NEWER)
    assert fields - ELSEWHERE.keys() - {"data.corruption"} == FIELDS.keys()


@pytest.mark.parametrize("field, value", FIELDS.items())
def test_field_changes_the_outcome(field, value):
    variant = small_variant(field)
    before = BEFORE.get(field, {})
    override = before | {field.replace(".", "__"): value}
    if field == "schedule.name":  # the constant schedule takes neither
        override |= {"schedule__warmup_epochs": None, "schedule__final_fraction": None}
    if shapes(variant, **override) == shapes(variant, **before):
        assert outcome(variant, **override) != outcome(variant, **before)
