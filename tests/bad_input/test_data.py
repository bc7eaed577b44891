"""Data that are missing, damaged, of another shape or range, or do not go with the config."""

import pytest

from tests.bad_input.run import BAD_INPUT, FOLDER, MNIST, NPZ, TRAIN, check, readable

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
    f"{TRAIN} --config.data.size=8": (2, "data.size is set, but 'digits' does not take it"),
    f"{TRAIN} --config.data.name=tfds": (2, "data.dataset is not set, and 'tfds' needs it"),
    f"{TRAIN} --config.data.memory_mb=-1": (2, "data.memory_mb=-1.0", "0 or more"),
    f"{TRAIN} --config.data.pairs=1": (2, "data.pairs=1", "'vae' does not learn from pairs"),
    f"{TRAIN} --config.data.workers=65": (2, "data.workers=65", "from 0 to 64"),
    f"train.py {NPZ}/nan": (65, "npz, train images: 1 values are NaN or infinite, the first in image 4"),
    f"train.py {NPZ}/range": (65, "npz, train images: float values in 255..255, expected [0, 1]"),
    f"train.py {NPZ}/unlabelled --config.model.condition=true": (2, "model.condition=True needs labels", "'npz'"),
    f"train.py {NPZ}/constant": (65, "npz, train images: all pixels are 0.5: there is nothing"),
    f"train.py {NPZ}/first": (65, "{w}/first/train.npz: 'images' of shape (9, 3, 4, 4), expected the channels last"),
    f"train.py {NPZ}/objects": (65, "{w}/objects/train.npz cannot be read as .npz: Object arrays cannot be loaded"),
    f"train.py {NPZ}/whole": (65, "npz, train images: dtype int64, expected uint8 in 0..1 or float in [0, 1]"),
    f"train.py {NPZ}/zero": (65, "npz, train images: shape (0, 4, 4, 1), expected [N,H,W,C] with no zero"),
    f"train.py {NPZ}/flat": (65, "npz, train images: shape (9, 16), expected [N,H,W,C] with no zero"),
    f"train.py {NPZ}/one": (2, "train.batch_size=8 is more than the 1 training examples of 'npz'"),
    f"train.py {NPZ}/negative": (65, "{w}/negative/train.npz: 'labels' must be whole numbers from 0"),
    f"train.py {NPZ}/npy": (65, "{w}/npy/train.npy cannot be read as .npy"),
    f"train.py {NPZ}/pickle": (65, "{w}/pickle/train.npy cannot be read as .npy"),
    f"train.py {NPZ}/sound --config.train.steps_per_call=0": (2, "train.steps_per_call=0"),
}


@pytest.mark.parametrize("command", CASES, ids=readable)
@BAD_INPUT
def test_bad_input(world, command):
    check(world, command, *CASES[command])
