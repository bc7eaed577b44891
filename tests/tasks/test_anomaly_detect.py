"""A saved run as a detector of a user's pictures and of another data set's, and its bad input."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.refusals import script_refusal
from tests.script import output_of
from vae_jax.data.dataset import Split
from vae_jax.errors import ConfigError
from vae_jax.evaluation.summary import SEED
from vae_jax.tasks.anomaly.detect import against, make_detector, rank
from vae_jax.tasks.saved import open_saved


@pytest.fixture(scope="module")
def folder(saved_run):
    return saved_run("digits.py:variant=vae,runlocal")


@pytest.fixture(scope="module")
def saved(folder):
    return open_saved(folder, None)


def test_a_ranking_counts_among_held_out_pictures(saved):
    detector = make_detector(saved, "neg_elbo")
    held_out = detector.held_out
    draws = [saved.trained.evaluate(saved.seen("validation")["image"], seed=SEED + i) for i in range(10)]
    expected = np.mean([draw["neg_elbo_nats"] for draw in draws], axis=0)
    np.testing.assert_allclose(held_out, expected, rtol=1e-4, atol=1e-3)
    images = np.concatenate([saved.seen("test")["image"][:5], np.ones((1, 8, 8, 1), np.float32)])
    found = rank(saved, detector, images, [pathlib.Path(f"{i}.png") for i in range(6)])
    assert found["pictures"][0]["path"] == "5.png"
    assert found["pictures"][0] == found["pictures"][0] | {"anomalous": True, "quantile": 1.0}
    assert found["threshold"] == pytest.approx(np.quantile(held_out, 0.95), rel=1e-4)
    for one in found["pictures"]:
        assert one["quantile"] == pytest.approx((held_out < one["score"]).mean(), abs=0.005)
        assert one["anomalous"] == (one["score"] > found["threshold"])


def test_what_is_said_of_a_picture_depends_on_it_alone(saved):
    images = saved.seen("test")["image"][:9]
    names = [pathlib.Path(f"{i}.png") for i in range(9)]
    for score in "neg_elbo", "neg_log_likelihood":
        detector = make_detector(saved, score)

        def scores(order, detector=detector):
            found = rank(saved, detector, images[order], [names[i] for i in order])["pictures"]
            return {one["path"]: one["score"] for one in found}

        all_of_them = scores(np.arange(9))
        for order in [8], [3, 8], np.arange(9)[::-1]:
            for name, value in scores(order).items():
                assert value == pytest.approx(all_of_them[name], rel=1e-4, abs=1e-4)


def test_pixels_that_the_likelihood_does_not_take_are_refused(saved):
    config = saved.trained.config.to_dict()
    config["model"]["likelihood"] = {"name": "bernoulli"}
    binary = saved._replace(trained=saved.trained._replace(config=config))
    with pytest.raises(ConfigError, match=r"'bernoulli' takes pixels of 0 and 1, and the data have any value"):
        against(binary, saved.dataset)
    gray, detector = saved.seen("test")["image"][:5], make_detector(saved, "neg_elbo")
    with pytest.raises(ConfigError, match=r"'bernoulli' takes pixels of 0 and 1"):
        rank(binary, detector, gray, [pathlib.Path(f"{i}.png") for i in range(5)])
    rank(binary, detector, np.round(gray), [pathlib.Path(f"{i}.png") for i in range(5)])


def test_noise_is_told_from_digits_and_digits_from_digits_are_not(saved):
    rng, data = np.random.default_rng(0), saved.dataset
    noise = rng.integers(0, 17, (100, 8, 8, 1)).astype(data.splits["test"].images.dtype)
    strange = data._replace(name="noise", splits=data.splits | {"test": Split(noise)})
    found = against(saved, strange)
    assert found["scores"]["neg_elbo"]["auroc"] > 0.95
    assert found["scores"]["pca_reconstruction"]["auroc"] > 0.95
    assert (found["num_normal"], found["num_anomalous"]) == (250, 100)
    for figures in against(saved, data)["scores"].values():
        assert figures["auroc"] == pytest.approx(0.5, abs=0.1)  # the same pictures, with other samples of z


def test_other_shapes_conditional_runs_and_missing_scores_are_refused(saved, saved_run):
    other = saved.dataset._replace(splits={"train": Split(np.zeros((5, 9, 9, 1), np.uint8))})
    with pytest.raises(ConfigError, match=r"shape \(9, 9, 1\), and those of the run \(8, 8, 1\)"):
        against(saved, other)
    autoencoder = open_saved(saved_run("digits.py:variant=autoencoder,runlocal"), None)
    with pytest.raises(ConfigError, match=r"--score=neg_elbo.* it has reconstruction_error"):
        make_detector(autoencoder, "neg_elbo")
    assert make_detector(autoencoder, "smooth_error").threshold > 0
    conditional = open_saved(saved_run("digits.py:variant=cvae,runlocal"), None)
    with pytest.raises(ConfigError, match="must be told"):
        make_detector(conditional, "neg_elbo")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, saved):
    path = tmp_path_factory.mktemp("own pictures")
    (path / "inner").mkdir()
    for i, image in enumerate(saved.dataset.splits["test"].images[:3]):
        Image.fromarray((image[..., 0] * 15.9).astype(np.uint8)).resize((32, 32)).save(path / "inner" / f"{i}.png")
    Image.new("L", (20, 20), 255).save(path / "white.png")
    (path / "notes.txt").write_text("no picture")
    return path


def test_detect_as_a_user_types_it(folder, pictures, tmp_path):
    out = output_of("detect", f"--workdir={folder}", pictures, f"--out={tmp_path / 'found.png'}")
    found = json.loads((tmp_path / "found.json").read_text())
    assert pathlib.Path(found["pictures"][0]["path"]).name == "white.png"
    assert len(found["pictures"]) == 4
    assert "white.png" in out.splitlines()[0]
    assert "anomalous" in out.splitlines()[0]
    with Image.open(tmp_path / "found.png") as sheet:
        assert sheet.width > 4 * 64
    output_of("detect", f"--workdir={folder}", "--against=digits")
    assert json.loads((folder / "against-digits.json").read_text())["anomalous"] == "digits"


@pytest.mark.parametrize(
    "flags, code, message",
    [
        ([], 2, "no pictures given"),
        (["missing.png"], 65, "no picture missing.png"),
        (["{own}/notes.txt"], 65, "notes.txt cannot be read as a picture"),
        (["{empty}"], 65, "holds no pictures"),
        (["{own}", "--score=magic"], 2, "--score=magic: the model of this run has no such score; it has"),
        (["{own}", "--against=mnist"], 2, "pictures and --against do not go together"),
        (["--against=minst"], 2, "did you mean"),
        (["{own}", "--out=x.jpg"], 2, "must end in .png"),
    ],
)
def test_bad_input_is_one_line(folder, pictures, tmp_path, flags, code, message):
    filled = [flag.format(own=pictures, empty=tmp_path) for flag in flags]
    assert message in script_refusal(code, "detect", f"--workdir={folder}", *filled, cwd=tmp_path)
