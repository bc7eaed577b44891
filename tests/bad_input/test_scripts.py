"""Run folders, and what the other scripts are given."""

import pytest

from tests.bad_input.run import BAD_INPUT, CONFIG, NEW, OUT, ROOT, check, readable

CASES = {
    # Run folders
    f"train.py {CONFIG} --workdir={{w}}/file": (73, "--workdir={w}/file cannot be written", "File exists"),
    f"train.py {CONFIG} --workdir={{w}}/file/run": (73, "--workdir={w}/file/run cannot be written", "Not a directory"),
    f"train.py {CONFIG} --workdir={{w}}/full": (73, "{w}/full is not empty and holds no run"),
    f"train.py {CONFIG} --workdir=/proc/run": (73, "--workdir=/proc/run cannot be written"),
    f"train.py {CONFIG} --workdir={{w}}/{'x' * 300}": (73, "cannot be written: File name too long"),
    f"train.py {CONFIG} --workdir={{w}}/busy": (73, "{w}/busy is in use by process 4711 on elsewhere"),
    f"train.py {CONFIG} --workdir={{w}}/other --config.seed=3": (2, "{w}/other holds a run of another", "seed: 0 -> 3"),
    f"train.py {CONFIG} --workdir={{w}}/other --config.train.batch_size=32": (2, "train.batch_size: 64 -> 32"),
    f"train.py {CONFIG} --workdir={{w}}/other --config.data.seed=1": (2, "{w}/other holds a run", "data.seed: 0 -> 1"),
    "sample.py --workdir={w}/run/checkpoints/100 --out={w}/out.png": (2, "no run folder", "did you mean {w}/run?"),
    f"train.py {CONFIG} --workdir={{w}}/foreign": (2, "{w}/foreign/config.json is not that of a run"),
    f"train.py {CONFIG} --workdir={{w}}/torn": (2, "{w}/torn/config.json cannot be read"),
    # The other scripts
    "evaluate.py": (2, "the following arguments are required: --workdir"),
    "evaluate.py --workdir={w}/empty": (2, "{w}/empty is no run folder, or not a whole one: it has no config.json"),
    "evaluate.py --workdir={w}/none": (2, "{w}/none is no run folder, or not a whole one: it has no config.json"),
    "evaluate.py --workdir={w}/file": (2, "{w}/file/config.json cannot be read", "Not a directory"),
    "evaluate.py --workdir={w}/list": (2, "{w}/list/config.json is not that of a run"),
    "evaluate.py --workdir={w}/run --split=tset": (2, "--split", "'tset'", "'train', 'validation', 'test'"),
    "evaluate.py --workdir={w}/run --num_samples=0": (2, "--num_samples=0", "1 or more"),
    "evaluate.py --workdir={w}/run --num_samples=1e3": (2, "--num_samples", "'1e3'"),
    "evaluate.py --workdir={w}/run --num_images=-1": (2, "--num_images=-1", "1 or more"),
    "evaluate.py --workdir={w}/run --config.seed=1": (2, "--config.seed=1", "cannot be changed"),
    "evaluate.py --workdir={w}/run test": (2, "'test' is unknown"),
    f"sample.py --workdir={{w}}/empty {OUT}": (2, "{w}/empty is no run folder"),
    f"sample.py --workdir={{w}}/run {OUT} --num=0": (2, "--num=0", "1 or more"),
    f"sample.py --workdir={{w}}/run {OUT} --num=many": (2, "--num", "'many'"),
    f"sample.py --workdir={{w}}/run {OUT} --temperature=nan": (2, "--temperature=nan", "0 or more"),
    f"sample.py --workdir={{w}}/run {OUT} --seed=-1": (2, "--seed=-1", "0..4294967295"),
    f"sample.py --workdir={{w}}/run {OUT} --label=3": (2, "--label=3", "model.condition=False"),
    f"sample.py --workdir={{w}}/conditional {OUT} --label=10": (2, "--label=10", "0..9"),
    f"sample.py --workdir={{w}}/conditional {OUT} --label=-1": (2, "--label=-1", "0..9"),
    f"sample.py --workdir={{w}}/conditional {OUT} --label=seven": (2, "--label", "'seven'"),
    f"sample.py --workdir={{w}}/run {OUT} --sampler=gausian": (2, "--sampler='gausian'", 'did you mean "gaussian"'),
    "look.py --workdir={w}/run --sampler=codes": (2, "--sampler='codes'", "gmm, nearest_posterior, prior"),
    "sample.py --workdir={w}/run --out={w}/out.jpg": (2, "--out={w}/out.jpg must end in .png"),
    "sample.py --workdir={w}/run --out={w}/none/out.png": (73, "--out={w}/none/out.png", "No such file or directory"),
    "sample.py --workdir={w}/run --out=/proc/out.png": (73, "--out=/proc/out.png cannot be written"),
    f"reconstruct.py --workdir={{w}}/run {OUT}": (2, "the following arguments are required: pictures"),
    f"reconstruct.py --workdir={{w}}/empty {OUT} {{w}}/black.png": (2, "{w}/empty is no run folder"),
    f"reconstruct.py --workdir={{w}}/run {OUT} {{w}}/text.png": (65, "{w}/text.png cannot be read as a picture"),
    f"reconstruct.py --workdir={{w}}/run {OUT} {{w}}/none.png": (65, "no picture {w}/none.png"),
    f"reconstruct.py --workdir={{w}}/run {OUT} {{w}}/black.png --label=3": (2, "--label=3", "model.condition=False"),
    f"reconstruct.py --workdir={{w}}/conditional {OUT} {{w}}/black.png": (2, "--label is not given", "needs it"),
    f"reconstruct.py --workdir={{w}}/conditional {OUT} {{w}}/black.png --label=99": (2, "--label=99", "0..9"),
    "reconstruct.py --workdir={w}/run --out={w}/none/out.png {w}/black.png": (73, "--out={w}/none/out.png"),
    f"train.py {CONFIG} {NEW} --trackers=wanbd": (2, "--trackers='wanbd' is unknown", 'did you mean "wandb"'),
    f"train.py {CONFIG} {NEW} --trackers=wandb,": (2, "--trackers='' is unknown", "known: mlflow, tensorboard, wandb"),
    f"train.py {CONFIG} {NEW} --trackers=mlflow,mlflow": (2, "names mlflow twice"),
    "hub.py": (2, "required: push|pull"),
    "hub.py push {w}/run": (2, "required: --repo"),
    "hub.py push {w}/run --repo=a/b": (2, "{w}/run", "has no results.json"),
    "hub.py pull digits --workdir={w}/new": (2, "'digits' is no name of a repository", "expected user/name"),
    "hub.py pull ../digits --workdir={w}/new": (2, "'../digits' is no name of a repository"),
    "hub.py pull a/b --workdir={w}/full": (73, "{w}/full exists and is not empty", "another --workdir"),
    "hub.py pull a/b --workdir={w}/file/new": (73, "{w}/file/new cannot be written"),
    "reproduce.py": (2, "expected one of RUN, --table and --render, and none is given"),
    "reproduce.py {w}/run --table=iwae": (2, "expected one of RUN, --table and --render", "RUN and --table is given"),
    "reproduce.py {w}/none": (2, "{w}/none is no run folder, or not a whole one: it has no config.json"),
    "reproduce.py {w}/foreign": (2, "{w}/foreign/config.json is not that of a run"),
    "reproduce.py {w}/run": (2, "{w}/run holds a run that is not finished (no results.json)"),
    "reproduce.py {w}/run --row=vae_1": (2, "--row goes with --table, not with RUN"),
    "reproduce.py {w}/run --tolerance=nan": (2, "--tolerance=nan", "0 or more"),
    "reproduce.py --table=iwea": (2, "'iwea' is unknown", 'did you mean "iwae"', "iwae, vamp, bbans, oneclass"),
    "reproduce.py --table=iwae --row=vae_2": (2, "--row='vae_2' is unknown", "vae_1, vae_5, vae_50, iwae_1"),
    "reproduce.py --table=iwae --seeds=0": (2, "--seeds=0", "1 or more"),
    "reproduce.py --table=iwae --tolerance=1": (2, "--tolerance goes with RUN, not with --table"),
    "reproduce.py --table=iwae": (65, "'mnist'", "give --data_dir=DATA"),
    # Found only with JAX
    f"train.py {CONFIG} {NEW} --config.model.likelihood.name=bernoulli": (2, "takes pixels of 0 and 1", "dynamic"),
    f"train.py {CONFIG} {NEW} --config.data.pixels=uint8": (2, "data.pixels='uint8'", "uint8 in 0..16"),
    f"train.py --config={ROOT}/configs/zoo_disentangling.py:variant=ada_gvae {NEW} --config.data.name=digits "
    "--config.data.pixels=threshold": (2, "data.pairs=1 needs data whose factors are known", "sprites or dsprites"),
    f"train.py {CONFIG} {NEW} --config.data.corruption.name=gray": (2, "data.corruption.name='gray'", "3 channels"),
    f"train.py {CONFIG} {NEW} --config.data.corruption.name=block_masking --config.data.corruption.size=9": (
        2,
        "data.corruption.size=9",
        "8 x 8 pixels",
    ),
    f"train.py {CONFIG} {NEW} --config.train.batch_size=66": (2, "train.batch_size=66", "number of devices, 4"),
    f"sample.py --workdir={{w}}/run {OUT}": (74, "no checkpoint in {w}/run/checkpoints"),
    f"reconstruct.py --workdir={{w}}/run {OUT} {{w}}/black.png": (74, "no checkpoint in {w}/run/checkpoints"),
}


@pytest.mark.parametrize("command", CASES, ids=readable)
@BAD_INPUT
def test_bad_input(world, command):
    check(world, command, *CASES[command])
