"""Whatever is wrong with the input, a script prints one line, ends with the right code and leaves nothing behind."""

import fcntl
import gzip
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from vae_jax import config

CONFIG = f"--config={ROOT}/configs/digits.py"
NEW = "--workdir={w}/new"
NPZ = f"{CONFIG} {NEW} --config.data.name=npz --config.train.batch_size=8 --data_dir={{w}}"
FOLDER = f"{CONFIG} {NEW} --config.data.name=folder --config.train.batch_size=8 --data_dir={{w}}"
MNIST = f"--config={ROOT}/configs/mnist.py:variant=dynamic {NEW}"
OUT = "--out={w}/out.png"


def write_run(folder, variant):
    """Make what a run leaves at its start."""
    folder.mkdir()
    (folder / "config.json").write_text(config.to_json(config.load(f"{ROOT}/configs/digits.py:{variant}")))
    data = {"shape": [8, 8, 1], "num_classes": 10, "sha256": "0"}
    (folder / "manifest.json").write_text(json.dumps({"data": data, "restarts": []}))


def write_npz(folder, **changes):
    folder.mkdir()
    arrays = {"images": np.full((9, 4, 4), 0.5), "labels": np.arange(9)} | changes
    for split in "train", "validation", "test":
        np.savez(folder / f"{split}.npz", **{k: v for k, v in arrays.items() if v is not None})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folders and files of all the kinds that a user may point at by mistake."""
    w = tmp_path_factory.mktemp("world")
    for name in "run", "other", "busy":
        write_run(w / name, "variant=vae")
    write_run(w / "conditional", "variant=cvae")
    (w / "full").mkdir()
    (w / "full" / "thesis.txt").write_text("all I have")
    (w / "file").write_text("")
    (w / "empty").mkdir()
    for name, text in ("foreign", '{"model_type": "bert"}'), ("list", "[]"), ("torn", '{"seed": 0, "da'):
        (w / name).mkdir()
        (w / name / "config.json").write_text(text)
    (w / "base.py").write_text((ROOT / "configs" / "base.py").read_text())
    frame = "from base import get_config as get\ndef get_config():\n    config = get()\n    {}\n    return config\n"
    for name, line in {
        "syntax": "config.train.epochs = = 3",
        "typo": "config.train.epocs = 3",
        "type": "config.train.epochs = 'many'",
        "nothing": "return None",
    }.items():
        (w / f"{name}.py").write_text(frame.format(line))
    write_npz(w / "nan", images=np.where(np.arange(144).reshape(9, 4, 4) == 77, np.nan, 0.5))
    write_npz(w / "range", images=np.full((9, 4, 4), 255.0))
    write_npz(w / "unlabelled", labels=None)
    write_npz(w / "sound")
    write_npz(w / "long", labels=np.arange(10))
    write_npz(w / "truncated")
    (w / "truncated" / "train.npz").write_bytes((w / "truncated" / "train.npz").read_bytes()[:-100])
    for name in [*(f"pets/cat/{i}.png" for i in range(9)), "pets/dog/0.png", *(f"fake/{i}.png" for i in range(9))]:
        (w / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(w / name)
    (w / "fake" / "text.png").write_text("no picture")
    (w / "idx").mkdir()
    damaged = bytearray(gzip.compress(bytes(1000)))
    damaged[-5] ^= 1
    (w / "idx" / "train-images-idx3-ubyte.gz").write_bytes(damaged)
    (w / "text.png").write_text("no picture")
    Image.new("L", (8, 8)).save(w / "black.png")
    with open(w / "busy" / ".lock", "w") as lock:
        lock.write("process 4711 on elsewhere")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield w


CASES = {
    # Flags and fields
    f"train.py {CONFIG} {NEW} --config.train.batch_sise=3": (
        2,
        "'train.batch_sise'",
        'did you mean "train.batch_size"',
    ),
    f"train.py {CONFIG} {NEW} --config.optimiser.name=sgd": (2, "'optimiser.name'", 'did you mean "optimizer.name"'),
    f"train.py {CONFIG} {NEW} --config.train=3": (2, "'train' is a group", "train.batch_size"),
    f"train.py {CONFIG} {NEW} --config.seed": (2, "'--config.seed' is unknown", "--config.path.to.field=value"),
    f"train.py {CONFIG} {NEW} --config.seed=1 --config.seed=2": (2, "--config.seed is given twice"),
    f"train.py {CONFIG} {NEW} --workdir=elsewhere": (2, "--workdir is given twice"),
    f"train.py {CONFIG} {NEW} hypers.beta=3": (2, "'hypers.beta=3' is unknown", "--config.path.to.field=value"),
    f"train.py {CONFIG} {NEW} --coordinator=here:80": (2, "--num_processes and --process_id not given", "go together"),
    f"train.py {CONFIG} {NEW} --coordinator=here --num_processes=2 --process_id=0": (2, "expected host:port"),
    f"train.py {CONFIG} {NEW} --coordinator=here:80 --num_processes=two --process_id=0": (2, "--num_processes", "two"),
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
    f"train.py {CONFIG} {NEW} lr=3": (2, "'lr=3' is unknown"),
    f"train.py {CONFIG} --work_dir=elsewhere": (2, "'--work_dir=elsewhere' is unknown", 'did you mean "--workdir"'),
    f"train.py {CONFIG} --workdir=": (2, "--workdir", "the path is empty"),
    f"train.py {CONFIG} --workdir": (2, "argument --workdir: expected one argument"),
    f"train.py {CONFIG} --workdir=~no_such_user/run": (2, "--workdir", "~no_such_user/run"),
    # Types
    f"train.py {CONFIG} {NEW} --config.hypers.learning_rate=abc": (2, "hypers.learning_rate='abc'", "a number"),
    f"train.py {CONFIG} {NEW} --config.hypers.learning_rate=true": (2, "hypers.learning_rate='true'", "a number"),
    f"train.py {CONFIG} {NEW} --config.train.batch_size=1.5": (2, "train.batch_size='1.5'", "a whole number"),
    f"train.py {CONFIG} {NEW} --config.train.batch_size=1e3": (2, "train.batch_size='1e3'", "a whole number"),
    f"train.py {CONFIG} {NEW} --config.train.batch_size=true": (2, "train.batch_size='true'", "a whole number"),
    f"train.py {CONFIG} {NEW} --config.train.batch_size=": (2, "train.batch_size=''", "a whole number"),
    f"train.py {CONFIG} {NEW} --config.model.condition=maybe": (2, "model.condition='maybe'", "true or false"),
    f"train.py {CONFIG} {NEW} --config.model.encoder.hidden=64,a": (2, "model.encoder.hidden='64,a'", "32,64"),
    # Components that do not go together
    f"train.py {CONFIG} {NEW} --config.model.posterior.name=von_mises_fisher": (
        2,
        "draws unit vectors",
        "over vectors",
    ),
    f"train.py {CONFIG} {NEW} --config.model.objective.name=stl --config.model.posterior.name=iaf "
    "--config.hypers.beta=None --config.hypers.kl_warmup_epochs=None": (2, "log q(z|x) at any z", "take diagonal"),
    # Values
    f"train.py {CONFIG} {NEW} --config.model.encoder.hidden=64,-1": (2, "model.encoder.hidden=(64, -1)", "1 or more"),
    f"train.py {CONFIG} {NEW} --config.model.latent=0": (2, "model.latent=0", "a whole number from 1"),
    f"train.py {CONFIG} {NEW} --config.train.epochs=0": (2, "train.epochs=0", "a whole number from 1"),
    f"train.py {CONFIG} {NEW} --config.train.epochs=None": (2, "train.epochs is not set"),
    f"train.py {CONFIG} {NEW} --config.seed=None": (2, "seed is not set"),
    f"train.py {CONFIG} {NEW} --config.seed=-1": (2, "seed=-1", "from 0 to 4294967295"),
    f"train.py {CONFIG} {NEW} --config.hypers.learning_rate=nan": (2, "hypers.learning_rate=nan", "above 0"),
    f"train.py {CONFIG} {NEW} --config.hypers.learning_rate=1e999": (2, "hypers.learning_rate=inf", "above 0"),
    f"train.py {CONFIG} {NEW} --config.hypers.beta=-1": (2, "hypers.beta=-1.0", "0 or more"),
    f"train.py {CONFIG} {NEW} --config.hypers.kl_warmup_epochs=301": (2, "kl_warmup_epochs=301.0", "train.epochs=200"),
    f"train.py {CONFIG} {NEW} --config.schedule.warmup_epochs=301": (2, "warmup_epochs=301.0", "train.epochs=200"),
    f"train.py {CONFIG}:variant=conv {NEW} --config.model.encoder.stride=4": (2, "encoder.stride=4", "kernel=3"),
    f"train.py {CONFIG} {NEW} --config.train.batch_size=1298": (2, "train.batch_size=1298", "1297 training examples"),
    # Components
    f"train.py {CONFIG} {NEW} --config.model.name=vea": (2, "model.name='vea'", 'did you mean "vae"', "autoencoder"),
    f"train.py {CONFIG} {NEW} --config.model.encoder.name=cnn": (
        2,
        "model.encoder.name='cnn'",
        "conv, mixer, mlp, resnet",
    ),
    f"train.py {CONFIG} {NEW} --config.model.encoder.name=": (2, "model.encoder.name=''", "conv, mixer, mlp, resnet"),
    f"train.py {CONFIG} {NEW} --config.optimizer.name=adma": (2, "optimizer.name='adma'", "adam, adamw, sgd"),
    f"train.py {CONFIG} {NEW} --config.model.likelihood.name=bernouli": (2, "likelihood.name='bernouli'", "laplace"),
    f"train.py {CONFIG} {NEW} --config.data.name=digit": (2, "data.name='digit'", 'did you mean "digits"'),
    f"train.py {CONFIG} {NEW} --config.data.pixels=binary": (
        2,
        "data.pixels='binary'",
        "dynamic, static, threshold, uint8, unit",
    ),
    f"train.py {CONFIG} {NEW} --config.model.encoder.kernel=3": (2, "model.encoder.kernel", "'mlp' does not take it"),
    f"train.py {CONFIG} {NEW} --config.data.corruption.scale=1": (2, "data.corruption.scale is set, but data.corr"),
    f"train.py {CONFIG} {NEW} --config.hypers.weight_decay=0.1": (2, "hypers.weight_decay", "nothing in this config"),
    f"train.py {CONFIG} {NEW} --config.data.corruption.name=block_masking": (2, "corruption.size is not set"),
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
    # Data
    f"train.py {MNIST}": (65, "'mnist'", "give --data_dir=DATA", "VAE_JAX_DATA_DIR", "`wget -P DATA/mnist https://"),
    f"train.py {MNIST} --data_dir={{w}}/none": (65, "--data_dir={w}/none is not a folder"),
    f"train.py {MNIST} --data_dir={{w}}/empty": (65, "train-images-idx3-ubyte.gz is not in {w}/empty", "`wget -P"),
    f"train.py {MNIST} --data_dir={{w}}/idx": (65, "{w}/idx/train-images-idx3-ubyte.gz is not the published file"),
    f"train.py {NPZ}/empty": (65, "no train.npz or train.npy in {w}/empty"),
    f"train.py {NPZ}/truncated": (65, "{w}/truncated/train.npz cannot be read as .npz"),
    f"train.py {NPZ}/long": (65, "{w}/long/train.npz: 10 labels for 9 images"),
    f"train.py {FOLDER}/empty": (65, "{w}/empty holds no pictures"),
    f"train.py {FOLDER}/pets": (65, "'dog' has 1 of the pictures, too few for train and validation and test"),
    f"train.py {FOLDER}/fake": (65, "{w}/fake/text.png cannot be read as a picture"),
    f"train.py {FOLDER}/fake --config.data.on_error=ignore": (2, "data.on_error='ignore'", "stop, skip"),
    f"train.py {CONFIG} {NEW} --config.data.size=8": (2, "data.size is set, but 'digits' does not take it"),
    f"train.py {CONFIG} {NEW} --config.data.name=tfds": (2, "data.dataset is not set, and 'tfds' needs it"),
    f"train.py {CONFIG} {NEW} --config.data.memory_mb=-1": (2, "data.memory_mb=-1.0", "0 or more"),
    f"train.py {CONFIG} {NEW} --config.data.pairs=1": (2, "data.pairs=1", "'vae' does not learn from pairs"),
    f"train.py {CONFIG} {NEW} --config.data.workers=65": (2, "data.workers=65", "from 0 to 64"),
    f"train.py {NPZ}/nan": (65, "npz, train images: 1 values are NaN or infinite, the first in image 4"),
    f"train.py {NPZ}/range": (65, "npz, train images: float values in 255..255, expected [0, 1]"),
    f"train.py {NPZ}/unlabelled --config.model.condition=true": (2, "model.condition=True needs labels", "'npz'"),
    f"train.py {NPZ}/sound --config.train.steps_per_call=0": (2, "train.steps_per_call=0"),
    # Run folders
    f"train.py {CONFIG} --workdir={{w}}/file": (73, "--workdir={w}/file cannot be written", "File exists"),
    f"train.py {CONFIG} --workdir={{w}}/file/run": (73, "--workdir={w}/file/run cannot be written", "Not a directory"),
    f"train.py {CONFIG} --workdir={{w}}/full": (73, "{w}/full is not empty and holds no run"),
    f"train.py {CONFIG} --workdir=/proc/run": (73, "--workdir=/proc/run cannot be written"),
    f"train.py {CONFIG} --workdir={{w}}/{'x' * 300}": (73, "cannot be written: File name too long"),
    f"train.py {CONFIG} --workdir={{w}}/busy": (73, "{w}/busy is in use by process 4711 on elsewhere"),
    f"train.py {CONFIG} --workdir={{w}}/other --config.seed=3": (2, "{w}/other holds a run of another", "seed: 0 -> 3"),
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


def run(world, command):
    script, *flags = command.format(w=world).split(" ")
    env = {k: v for k, v in os.environ.items() if k != "VAE_JAX_DATA_DIR"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    env["VAE_JAX_CACHE_DIR"] = f"{world.parent}/empty cache"
    env |= dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # nothing is to be downloaded
    command = [sys.executable, ROOT / "scripts" / script, *flags]
    return subprocess.run(command, cwd=world, env=env, capture_output=True, text=True, timeout=120)


def contents(world):
    return {path: path.read_bytes() if path.is_file() else None for path in pathlib.Path(world).rglob("*")}


@pytest.mark.parametrize("command", CASES, ids=lambda command: command.replace(str(ROOT), "").replace(NEW, "")[:90])
def test_bad_input(world, command):
    code, *told = CASES[command]
    before = contents(world)
    done = run(world, command)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.endswith("\n") and done.stderr.count("\n") == 1
    for text in told:
        assert text.format(w=world) in done.stderr
    assert contents(world) == before


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_help(world, script):
    done = run(world, f"{script} --help")
    assert (done.returncode, done.stderr) == (0, "")
    assert script == "zoo.py" or "--data_dir" in done.stdout or "--workdir" in done.stdout
    assert script in done.stdout
