"""The chapter on digits runs from top to bottom in a fresh kernel, shows its pictures, and what its text says holds."""

import base64
import io
import json
import os
import shutil

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

NAME = "handwritten_digits.ipynb"
PICTURES = {  # cell -> smallest width and height of the picture it shows, in screen pixels
    "load-data": (600, 100),
    "class-means": (600, 50),
    "reconstructions": (600, 100),
    "autoencoder-map": (300, 300),
    "autoencoder8-draws": (600, 100),
    "vae-samples": (600, 100),
    "vae-map": (600, 300),
    "latent-walk": (600, 600),
    "interpolate": (600, 100),
    "train-cvae": (600, 100),
    "styles": (500, 300),
}
REPORT = """
import json
print(json.dumps({
    "table": figures, "linear_gap": float(linear_gap), "nearest": {k: float(v) for k, v in nearest.items()},
    "outside": float(outside), "empty": float((cells == 0).mean()), "read": {k: float(v) for k, v in read.items()},
    "code_mean": vae_codes.mean(axis=0).tolist(), "code_deviation": vae_codes.std(axis=0).tolist(),
}))
"""


def test_stored_without_outputs(root):
    notebook = nbformat.read(root / "notebooks" / NAME, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.mark.long
@pytest.mark.timeout(900)  # six models are trained: a minute on two free cores, more when they are shared
def test_runs_and_holds_what_it_says(root, tmp_path):
    # One test, so that parallel workers do not each train the models.
    notebook, report = _execute(root, tmp_path)
    _check_outputs(notebook)
    _check_linear_equals_pca(report)
    _check_deep_beats_linear(report["table"])
    _check_only_the_vae_can_be_drawn_from(report)
    read = report["read"]
    assert read["real test digits"] > 0.95
    assert min(read["drawn digits, all classes"], read["drawn sevens"]) > 0.97


def _execute(root, home):
    """Return the notebook with outputs, run in a copy of its surroundings, and what its variables hold at the end."""
    shutil.copytree(root / "configs", home / "configs")
    (home / "notebooks").mkdir()
    notebook = nbformat.read(root / "notebooks" / NAME, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(home / "notebooks")}}
    )
    # It raises CellExecutionError at the first cell that fails.
    client.execute(env=os.environ | {"IPYTHONDIR": str(home / "ipython")})
    reporter = notebook.cells.pop()
    return notebook, json.loads("".join(output.text for output in reporter.outputs))


def _check_outputs(notebook):
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert not [cell for cell, shown in outputs.items() if any(output.output_type == "error" for output in shown)]
    assert not [cell for cell, shown in outputs.items() if any(output.get("name") == "stderr" for output in shown)]
    pictures = {
        cell: [output.data["image/png"] for output in shown if "image/png" in output.get("data", {})]
        for cell, shown in outputs.items()
    }
    assert {cell: len(shown) for cell, shown in pictures.items() if shown} == dict.fromkeys(PICTURES, 1)
    for cell, (width, height) in PICTURES.items():
        picture = Image.open(io.BytesIO(base64.b64decode(pictures[cell][0]))).convert("L")
        assert picture.width >= width and picture.height >= height, cell
        assert np.asarray(picture).std() > 20, f"{cell} is almost uniform"


def _check_linear_equals_pca(report):
    pca = report["table"]["PCA and pPCA, D=2"]["pca_mse"]
    assert report["table"]["linear autoencoder, D=2"]["mse"] == pytest.approx(pca, rel=2e-3)
    assert report["linear_gap"] < 3e-3 * pca


def _check_deep_beats_linear(table):
    for size in "2", "8":
        pca = table[f"PCA and pPCA, D={size}"]
        autoencoder, vae = table[f"autoencoder, D={size}"], table[f"VAE, D={size}"]
        assert max(autoencoder["mse"], vae["mse"]) < 0.75 * pca["pca_mse"]
        assert vae["mse"] < 1.4 * autoencoder["mse"]
        assert vae["nll_nats"] < pca["ppca_nll_density_nats"] - 10
        assert vae["nll_nats"] < vae["neg_elbo_nats"]
        assert vae["neg_elbo_nats"] == pytest.approx(vae["distortion_nats"] + vae["rate_nats"], abs=1e-3)


def _check_only_the_vae_can_be_drawn_from(report):
    assert report["outside"] > 0.2 and report["empty"] > 0.2
    nearest = report["nearest"]
    vae = nearest["VAE, z ~ N(0, I)"]
    assert vae < 2 * nearest["test digits"]
    assert nearest["autoencoder, z from the box"] > 2 * vae
    assert nearest["autoencoder, z ~ N(0, I)"] > 1.5 * vae
    np.testing.assert_allclose(report["code_mean"], 0, atol=0.2)
    np.testing.assert_allclose(report["code_deviation"], 1, atol=0.35)
