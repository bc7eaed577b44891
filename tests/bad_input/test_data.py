"""Data that are missing, damaged, of another shape or range, or do not go with the config."""

import pytest

from tests.bad_input.run import CONFIG, FOLDER, MNIST, NEW, NPZ, check, readable

CASES = {
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
}


@pytest.mark.parametrize("command", CASES, ids=readable)
def test_bad_input(world, command):
    check(world, command, *CASES[command])
