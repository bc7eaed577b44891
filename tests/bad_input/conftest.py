"""The world of the tests of bad input: folders and files of all kinds."""

import fcntl
import gzip
import json

import numpy as np
import pytest
from PIL import Image

from tests.bad_input.run import ROOT
from vae_jax import config


def write_run(folder, variant):
    """Make what a run leaves at its start."""
    folder.mkdir()
    resolved = config.load(f"{ROOT}/configs/digits.py:{variant}")
    (folder / "config.json").write_text(config.to_json(resolved))
    manifest = {"data": {"shape": [8, 8, 1], "num_classes": 10, "sha256": "0"}, "restarts": []}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"config_sha256": config.fingerprint(resolved)}))


def write_npz(folder, **changes):
    folder.mkdir()
    arrays = {"images": np.arange(144.0).reshape(9, 4, 4) / 144, "labels": np.arange(9)} | changes
    for split in "train", "validation", "test":
        np.savez(folder / f"{split}.npz", **{k: v for k, v in arrays.items() if v is not None})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folders and files of all the kinds that a user may point at by mistake."""
    w = tmp_path_factory.mktemp("world")
    for name in "run", "other", "busy":
        write_run(w / name, "variant=vae")
    write_run(w / "conditional", "variant=cvae")
    write_run(w / "edited", "variant=vae")
    text = (w / "edited" / "config.json").read_text()
    (w / "edited" / "config.json").write_text(text.replace('"latent": 2', '"latent": 3'))
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
    write_npz(w / "one", images=np.eye(4)[None], labels=None)
    for name, images in {
        "constant": np.full((9, 4, 4), 0.5),
        "first": np.arange(432.0).reshape(9, 3, 4, 4) / 432,  # its channels
        "objects": np.array([{}] * 9),
        "whole": np.ones((9, 4, 4), int),
        "zero": np.zeros((0, 4, 4)),
        "flat": np.ones((9, 16)),
    }.items():
        write_npz(w / name, images=images, labels=None)
    write_npz(w / "negative", labels=np.arange(9) - 1)
    (w / "npy").mkdir()
    np.save(w / "npy" / "train.npy", np.arange(144.0).reshape(9, 4, 4) / 144)
    (w / "npy" / "train.npy").write_bytes((w / "npy" / "train.npy").read_bytes()[:-50])
    (w / "pickle").mkdir()
    np.save(w / "pickle" / "train.npy", np.array([{}] * 9), allow_pickle=True)
    (w / "run" / "checkpoints" / "100").mkdir(parents=True)
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
