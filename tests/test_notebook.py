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

from tests.conftest import ROOT

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

CHAPTER = nbformat.read(ROOT / "notebooks" / NAME, as_version=4)
CHAPTER.cells.append(nbformat.v4.new_code_cell(REPORT))


def test_stored_without_outputs():
    notebook = nbformat.read(ROOT / "notebooks" / NAME, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.fixture(scope="module")
def run_to(tmp_path_factory):
    """Return a function of a cell: runs those that have not run, up to it, in one kernel, and returns its outputs."""
    home, left = tmp_path_factory.mktemp("notebook"), list(enumerate(CHAPTER.cells))
    shutil.copytree(ROOT / "configs", home / "configs")
    (home / "notebooks").mkdir()
    client = NotebookClient(CHAPTER, timeout=600, resources={"metadata": {"path": str(home / "notebooks")}})

    def run(cell):
        while any(cell is other for _, other in left):
            index, first = left.pop(0)
            client.execute_cell(first, index)  # raises CellExecutionError where it fails
        return cell.outputs

    with client.setup_kernel(env=os.environ | {"IPYTHONDIR": str(home / "ipython")}):
        yield run


@pytest.mark.long
@pytest.mark.parametrize("cell", [cell for cell in CHAPTER.cells[:-1] if cell.cell_type == "code"], ids=lambda c: c.id)
def test_a_cell_runs_without_a_word_of_error_and_shows_its_picture(run_to, cell):
    outputs = run_to(cell)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == (cell.id in PICTURES)
    if shown:
        picture = Image.open(io.BytesIO(base64.b64decode(shown[0]))).convert("L")
        assert picture.width >= PICTURES[cell.id][0] and picture.height >= PICTURES[cell.id][1]
        assert np.asarray(picture).std() > 20, "it is almost uniform"


@pytest.mark.long
def test_what_the_text_says_holds(run_to):
    report = json.loads("".join(output.text for output in run_to(CHAPTER.cells[-1])))
    _check_linear_equals_pca(report)
    _check_deep_beats_linear(report["table"])
    _check_only_the_vae_can_be_drawn_from(report)
    read = report["read"]
    assert read["real test digits"] > 0.95
    assert min(read["drawn digits, all classes"], read["drawn sevens"]) > 0.97


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
