"""Flags and fields of a config that are unknown, of a wrong type, impossible, or do not go together."""

import pytest

from tests.bad_input.run import BAD_INPUT, CONFIG, NEW, ROOT, TRAIN, check, readable

CASES = {
    # Flags and fields
    f"{TRAIN} --config.train.batch_sise=3": (2, "'train.batch_sise'", 'did you mean "train.batch_size"'),
    f"{TRAIN} --config.optimiser.name=sgd": (2, "'optimiser.name'", 'did you mean "optimizer.name"'),
    f"{TRAIN} --config.train=3": (2, "'train' is a group", "train.batch_size"),
    f"{TRAIN} --config.seed": (2, "'--config.seed' is unknown", "--config.path.to.field=value"),
    f"{TRAIN} --config.seed=1 --config.seed=2": (2, "--config.seed is given twice"),
    f"{TRAIN} --workdir=elsewhere": (2, "--workdir is given twice"),
    f"{TRAIN} hypers.beta=3": (2, "'hypers.beta=3' is unknown", "--config.path.to.field=value"),
    f"{TRAIN} --coordinator=here:80": (2, "--num_processes and --process_id not given", "go together"),
    f"{TRAIN} --coordinator=here --num_processes=2 --process_id=0": (2, "expected host:port"),
    f"{TRAIN} --coordinator=here:80 --num_processes=two --process_id=0": (2, "--num_processes", "two"),
    f"{TRAIN} lr=3": (2, "'lr=3' is unknown"),
    f"train.py {CONFIG} --work_dir=elsewhere": (2, "'--work_dir=elsewhere' is unknown", 'did you mean "--workdir"'),
    f"train.py {CONFIG} --workdir=": (2, "--workdir", "the path is empty"),
    f"train.py {CONFIG} --workdir": (2, "argument --workdir: expected one argument"),
    f"train.py {CONFIG} --workdir=~no_such_user/run": (2, "--workdir", "~no_such_user/run"),
    # Types
    f"{TRAIN} --config.hypers.learning_rate=abc": (2, "hypers.learning_rate='abc'", "a number"),
    f"{TRAIN} --config.hypers.learning_rate=true": (2, "hypers.learning_rate='true'", "a number"),
    f"{TRAIN} --config.train.batch_size=1.5": (2, "train.batch_size='1.5'", "a whole number"),
    f"{TRAIN} --config.train.batch_size=1e3": (2, "train.batch_size='1e3'", "a whole number"),
    f"{TRAIN} --config.train.batch_size=true": (2, "train.batch_size='true'", "a whole number"),
    f"{TRAIN} --config.train.batch_size=": (2, "train.batch_size=''", "a whole number"),
    f"{TRAIN} --config.model.condition=maybe": (2, "model.condition='maybe'", "true or false"),
    f"{TRAIN} --config.model.encoder.hidden=64,a": (2, "model.encoder.hidden='64,a'", "32,64"),
    # Values
    f"{TRAIN} --config.model.encoder.hidden=64,-1": (2, "model.encoder.hidden=(64, -1)", "1 or more"),
    f"{TRAIN} --config.model.latent=0": (2, "model.latent=0", "a whole number from 1"),
    f"{TRAIN} --config.train.epochs=0": (2, "train.epochs=0", "a whole number from 1"),
    f"{TRAIN} --config.train.epochs=None": (2, "train.epochs is not set"),
    f"{TRAIN} --config.seed=None": (2, "seed is not set"),
    f"{TRAIN} --config.seed=4294967296": (2, "seed=4294967296", "from 0 to 4294967295"),
    f"{TRAIN} --config.evaluate.num_importance_samples=0": (2, "num_importance_samples=0", "from 1"),
    f"{TRAIN} --config.train.eval_every_epochs=0": (2, "train.eval_every_epochs=0", "from 1"),
    f"{TRAIN} --config.hypers.learning_rate=0": (2, "hypers.learning_rate=0.0", "above 0"),
    f"train.py --config={ROOT}/configs/zoo_discrete.py {NEW} --config.model.quantizer.codes=0": (
        2,
        "quantizer.codes=0",
    ),
    f"{TRAIN} --config.seed=-1": (2, "seed=-1", "from 0 to 4294967295"),
    f"{TRAIN} --config.hypers.learning_rate=nan": (2, "hypers.learning_rate=nan", "above 0"),
    f"{TRAIN} --config.hypers.learning_rate=1e999": (2, "hypers.learning_rate=inf", "above 0"),
    f"{TRAIN} --config.hypers.beta=-1": (2, "hypers.beta=-1.0", "0 or more"),
    f"{TRAIN} --config.hypers.kl_warmup_epochs=301": (2, "kl_warmup_epochs=301.0", "train.epochs=200"),
    f"{TRAIN} --config.schedule.warmup_epochs=301": (2, "warmup_epochs=301.0", "train.epochs=200"),
    f"train.py {CONFIG}:variant=conv {NEW} --config.model.encoder.stride=4": (2, "encoder.stride=4", "kernel=3"),
    f"{TRAIN} --config.train.batch_size=1298": (2, "train.batch_size=1298", "1297 training examples"),
    # Components
    f"{TRAIN} --config.model.name=vea": (2, "model.name='vea'", 'did you mean "vae"', "autoencoder"),
    f"{TRAIN} --config.model.encoder.name=cnn": (2, "model.encoder.name='cnn'", "conv, gated_mlp, mixer, mlp, resnet"),
    f"{TRAIN} --config.model.encoder.name=": (2, "model.encoder.name=''", "conv, gated_mlp, mixer, mlp, resnet"),
    f"{TRAIN} --config.optimizer.name=adma": (2, "optimizer.name='adma'", "adam, adamw, sgd"),
    f"{TRAIN} --config.model.likelihood.name=bernouli": (2, "likelihood.name='bernouli'", "laplace"),
    f"{TRAIN} --config.data.name=digit": (2, "data.name='digit'", 'did you mean "digits"'),
    f"{TRAIN} --config.data.pixels=binary": (2, "data.pixels='binary'", "dynamic, static, threshold, uint8, unit"),
    f"{TRAIN} --config.model.encoder.kernel=3": (2, "model.encoder.kernel", "'mlp' does not take it"),
    f"{TRAIN} --config.data.corruption.scale=1": (2, "data.corruption.scale is set, but data.corr"),
    f"{TRAIN} --config.hypers.weight_decay=0.1": (2, "hypers.weight_decay", "nothing in this config"),
    f"{TRAIN} --config.data.corruption.name=block_masking": (2, "corruption.size is not set"),
    # Components that do not go together
    f"{TRAIN} --config.model.posterior.name=von_mises_fisher": (2, "draws unit vectors", "over vectors"),
    f"{TRAIN} --config.model.objective.name=stl --config.model.posterior.name=iaf "
    "--config.hypers.beta=None --config.hypers.kl_warmup_epochs=None": (2, "log q(z|x) at any z", "take diagonal"),
    # Config files
    f"train.py {CONFIG}:variant=vea {NEW}": (2, "variant 'vea' is unknown", "vae, autoencoder"),
    f"train.py {CONFIG}:varient=vae {NEW}": (2, "'varient' is unknown", 'did you mean "variant"'),
    f"train.py --config={ROOT}/configs/digit.py {NEW}": (2, f"{ROOT}/configs/digit.py", "mean", "configs/mnist.py"),
    f"train.py --config={{w}}/file {NEW}": (2, "{w}/file", "must end in .py"),
    f"train.py --config= {NEW}": (2, "no config file ''"),
    f"train.py --config={{w}}/syntax.py {NEW}": (2, "{w}/syntax.py failed: SyntaxError", "line 4"),
    f"train.py --config={{w}}/type.py {NEW}": (2, "{w}/type.py, line 4, failed: TypeError", "'epochs'", "many"),
    f"train.py --config={{w}}/typo.py {NEW}": (2, "'train.epocs' is unknown", 'did you mean "train.epochs"'),
    f"train.py --config={{w}}/nothing.py {NEW}": (2, "{w}/nothing.py", "returned NoneType"),
}


@pytest.mark.parametrize("command", CASES, ids=readable)
@BAD_INPUT
def test_bad_input(world, command):
    check(world, command, *CASES[command])
