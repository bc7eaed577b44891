"""Lossless and lossy coding: exactness, the rate that theory gives, and what is refused."""

import io
import json
import math

import constriction
import numpy as np
import pytest
import scipy.stats
from PIL import Image

from vae_jax.data.sources.embedded import digits
from vae_jax.errors import ConfigError, DataError
from vae_jax.tasks.compression import bits_back, codec, codecs, container, lossy, report
from vae_jax.tasks.compression.originals import Originals
from vae_jax.tasks.saved import open_saved
from vae_jax.trained import load

BINARY = {"data__pixels": "threshold", "model__likelihood__name": "bernoulli", "model__likelihood__min_scale": None}
LEVELS = ("beta_binomial", "discretized_logistic")  # of the others tests/prob/test_masses.py
KINDS = (
    *(pytest.param(kind, marks=pytest.mark.long) for kind in ("beta_binomial", "conditional")),
    "bernoulli",
    LEVELS[1],
)


@pytest.fixture(scope="module")
def runs(saved_run, tmp_path_factory):
    """Return kind -> (folder of a run, its data_dir)."""
    arrays = tmp_path_factory.mktemp("arrays")
    splits = digits(None).splits
    for name, split in splits.items():
        np.savez(arrays / f"{name}.npz", images=(15 * split.images).astype(np.uint8))

    def of(kind):
        if kind in LEVELS:
            levels = {"data__name": "npz", "data__pixels": "uint8", "model__likelihood__name": kind}
            levels |= {"model__likelihood__min_scale": None, "train__epochs": 12}
            levels |= {"evaluate__num_importance_samples": 10}
            return saved_run("digits.py:variant=vae,runlocal", arrays, **levels), arrays
        variant = "cvae" if kind == "conditional" else "vae"
        return saved_run(f"digits.py:variant={variant},runlocal", None, **BINARY, train__epochs=12), None

    return of


@pytest.fixture(scope="module")
def opened(runs):
    """Return kind -> (trained, its test pictures)."""

    def of(kind):
        folder, data_dir = runs(kind)
        saved = open_saved(folder, data_dir)
        test = saved.seen("test")
        return saved.trained, Originals(report.stored(test["image"]), test["label"] if kind == "conditional" else None)

    return of


def first(originals, count):
    labels = originals.labels
    return Originals(originals.images[:count], None if labels is None else labels[:count])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 250])
def test_pictures_and_labels_come_back_to_the_byte(opened, kind, count):
    trained, test = opened(kind)
    original = first(test, count)
    header, payload = container.unpack(codec.encode(trained, original), "file")
    again = codec.decode(trained, header, payload)
    assert again.images.dtype == np.uint8 and again.images.shape == original.images.shape
    np.testing.assert_array_equal(again.images, original.images)
    if kind == "conditional":
        np.testing.assert_array_equal(again.labels, original.labels)
    assert header["count"] == count and ("batches" in header) == (count == 250), "few take less as they are"


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_is_the_bound(opened, kind):
    trained, test = opened(kind)
    _, payload = container.unpack(codec.encode(trained, test), "file")
    images = test.images / np.float32(255)
    bound = trained.evaluate(images, test.labels)["neg_elbo_nats"].sum(dtype=np.float64) / math.log(2)
    bound += len(images) * math.log2(10) * (kind == "conditional")
    # Beyond the bound: some words that the stack began with, and the noise of one sample of z.
    assert bound * 0.95 < 8 * len(payload) < bound * 1.05 + 500


@pytest.mark.parametrize("kind", KINDS)
def test_a_push_costs_what_the_probabilities_say(opened, kind):
    trained, test = opened(kind)
    coder = bits_back.make_coder(trained, 20)
    values = codec._values(trained, test.images[:20])[0]
    labels = np.zeros(20, np.int32) if test.labels is None else test.labels[:20]
    stack = constriction.stream.stack.AnsCoder(bits_back.initial_words(3000))
    begin = stack.clone()
    coder.push(stack, values, labels)
    cell, loc_scale = 2.0**-bits_back.STEP_BITS, coder.posterior(values, labels, ())
    z = bits_back._pop_latents(begin, *loc_scale)

    def log2_cells(loc, scale):
        normal = scipy.stats.norm(loc.astype(np.float64), scale)
        return np.log2(normal.cdf(z + cell / 2) - normal.cdf(z - cell / 2)).sum()

    expected = log2_cells(*loc_scale) - log2_cells(*coder.prior(labels, ()))
    maps, before = coder.maps(labels, (z,)), ()
    for digit in bits_back._digits(values, coder.coding.bases):
        masses = coder.masses(maps, before, 20).astype(np.float64)
        expected -= np.log2(masses[np.arange(digit.size), digit.ravel()] / masses.sum(-1)).sum()
        before += (digit,)
    expected += 20 * math.log2(10) * (kind == "conditional")
    # num_bits counts whole words; leaving 24 bits to a mass costs a little.
    assert stack.num_bits() - 32 * 3000 == pytest.approx(expected, abs=70)


@pytest.mark.parametrize("size", [1, 7, 128])
def test_the_size_of_batches_changes_nothing_but_a_few_bits(opened, size):
    trained, test = opened("bernoulli")
    values, labels = codec._values(trained, test.images)[0], np.zeros(len(test.images), np.int32)
    coder = bits_back.make_coder(trained, len(values))
    words = bits_back.encode(coder, values, labels)[0]
    other = coder._replace(size=size)
    coded = bits_back.encode(other, values, labels)
    assert max(coded[1]) <= size
    assert len(coded[0]) == pytest.approx(len(words), rel=0.05)
    np.testing.assert_array_equal(bits_back.decode(other, *coded)[0], values)


def test_pictures_that_cost_nothing_find_bits_to_pop(opened):
    trained, _ = opened("bernoulli")
    values = np.zeros((40, 8, 8, 1), np.uint8)
    coder = bits_back.make_coder(trained, 40)._replace(size=3)
    coded = bits_back.encode(coder, values, np.zeros(40, np.int32))
    np.testing.assert_array_equal(bits_back.decode(coder, *coded)[0], values)


def test_more_initial_words_stand_before_fewer():
    np.testing.assert_array_equal(bits_back.initial_words(9)[-4:], bits_back.initial_words(4))
    assert bits_back.initial_words(1)[0] != 0


def test_black_and_white_may_be_stored_as_0_and_1_or_0_and_255(opened):
    trained, test = opened("bernoulli")
    for unit in 1, 255:
        images = test.images[:5] // 255 * np.uint8(unit)
        again = codec.decode(trained, *container.unpack(codec.encode(trained, Originals(images, None)), "file"))
        np.testing.assert_array_equal(again.images, images)
    with pytest.raises(DataError, match="a pixel is 7"):
        codec.encode(trained, Originals(np.full((1, 8, 8, 1), 7, np.uint8), None))


def test_a_conditional_model_asks_for_labels_that_it_knows(opened):
    trained, test = opened("conditional")
    with pytest.raises(ConfigError, match="needs labels"):
        codec.encode(trained, test._replace(labels=None))
    with pytest.raises(ConfigError, match="label 10 is unknown"):
        codec.encode(trained, test, label=10)
    again = codec.decode(trained, *container.unpack(codec.encode(trained, first(test, 3), label=4), "file"))
    assert again.labels.tolist() == [4, 4, 4]
    with pytest.raises(ConfigError, match="not given labels"):
        codec.encode(opened("bernoulli")[0], test, label=4)


def test_densities_and_autoencoders_cannot_code(saved_run):
    for variant, words in (("vae", "gaussian_shared_scale' is a density"), ("autoencoder", "no likelihood")):
        trained = load(saved_run(f"digits.py:variant={variant},runlocal"))
        with pytest.raises(ConfigError, match=words) as error:
            codec.encode(trained, Originals(np.zeros((1, 8, 8, 1), np.uint8), None))
        assert "bernoulli" in str(error.value) and "discretized_logistic" in str(error.value)


def test_latents_that_cannot_be_coded_are_named(opened):
    trained, _ = opened("bernoulli")
    other = trained._replace(model=trained.model._replace(coding=None))
    with pytest.raises(
        ConfigError, match=r"posterior\.name='diagonal', model\.prior\.name='standard_normal': these lat"
    ):
        codec.check_codable(other)
    assert codec.why_not_codable(trained) is None


def test_another_model_and_other_floats_are_refused_before_decoding(opened, monkeypatch):
    trained, test = opened("bernoulli")
    header, payload = container.unpack(codec.encode(trained, first(test, 9)), "file")
    monkeypatch.setattr(bits_back, "decode", lambda *_: pytest.fail("decoding has begun"))
    other, _ = opened("conditional")
    with pytest.raises(ConfigError, match="another model"):
        codec.decode(other, header, payload)
    monkeypatch.setattr(bits_back, "probe", lambda _: "0" * 64)
    with pytest.raises(DataError, match=r"other floats here .*jax"):
        codec.decode(trained, header, payload)


def test_floats_that_differ_unseen_are_found_out_at_the_end(opened):
    trained, test = opened("bernoulli")
    header, payload = container.unpack(codec.encode(trained, test), "file")
    words = np.frombuffer(payload, np.uint32).copy()
    words[len(words) // 2] ^= 1
    with pytest.raises(DataError, match=r"does not end as it began|SHA-256 differs"):
        codec.decode(trained, header, words.tobytes())


def test_the_container_finds_every_altered_byte():
    shape = {"count": 2, "shape": [2, 2, 1], "dtype": "uint8", "channel_axis": True, "names": None, "labels": False}
    header = {"stored": "raw", **shape, "model_sha256": 64 * "0", "pictures_sha256": 64 * "f"}
    content = container.pack(header, b"8 pixels")
    assert container.unpack(content, "f") == (header, b"8 pixels")
    for i in range(len(content)):
        altered = content[:i] + bytes([content[i] ^ 4]) + content[i + 1 :]
        with pytest.raises(DataError):
            container.unpack(altered, "f")
        with pytest.raises(DataError, match=r"cut short|first bytes"):
            container.unpack(content[:i], "f")
    newer = content[:8] + bytes([container.VERSION + 1]) + content[9:]
    with pytest.raises(DataError, match=r"f is of version 3 .* update"):
        container.unpack(newer, "f")


def test_quantised_codes_come_back_and_cost_the_entropy():
    rng = np.random.default_rng(0)
    known, codes = rng.normal([0, 1, -3], [1, 0.5, 2], (2, 20000, 3))
    for step in 2.0, 0.5, 0.01:
        coded = lossy.pack(codes, known, step)
        np.testing.assert_allclose(lossy.unpack(coded), step * np.rint(codes / step), atol=1e-9)
        entropy = 0.0
        for column in codes.T:
            low = np.arange(-40 / step, 40 / step).round() * step - step / 2
            normal = scipy.stats.norm(column.mean(), column.std())
            entropy += scipy.stats.entropy(normal.cdf(low + step) - normal.cdf(low), base=2) * len(column)
        assert 8 * len(coded) == pytest.approx(entropy, rel=0.02)


def test_pictures_of_a_model_are_cut_to_their_range_as_those_of_others_are(saved_run):
    trained = load(saved_run("digits.py:variant=vae,runlocal"))
    picture = np.linspace(-1, 2, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    trained = trained._replace(model=trained.model._replace(decode=lambda *_: picture))
    codes, label = np.zeros((1, trained.config["model"]["latent"]), np.float32), np.zeros(1, np.int32)
    np.testing.assert_array_equal(lossy.of_model(trained).decode(codes, label), picture.clip(0, 1))


def test_a_code_beyond_all_known_ones_goes_to_the_edge():
    known = np.array([[0.0], [1.0]])
    assert lossy.unpack(lossy.pack(np.array([[1e9], [-1e9]]), known, 0.5)).ravel().tolist() == [1.5, -0.5]


def test_a_curve_rises_and_ends_at_the_transform_itself():
    images = digits(None).splits["train"].images[:400] / 16.0
    train, test = images[:300], images[300:]
    labels = np.zeros(300, int), np.zeros(100, int)
    transform = lossy.of_pca(train, 20)
    points = lossy.curve(transform, (train, labels[0]), (test, labels[1]))
    rows = [point.row for point in points]
    for name in "bits_per_dim", "psnr_db":
        assert np.all(np.diff([row[name] for row in rows]) > 0)
    exact = transform.decode(transform.encode(test, labels[1]), labels[1])
    assert rows[-1]["mse"] == pytest.approx(np.square(exact - test).mean(), rel=0.05)
    counted = lossy.curve(transform._replace(num_classes=4), (train, labels[0]), (test, labels[1]))
    assert (counted[0].row["bits_per_dim"] - rows[0]["bits_per_dim"]) * 64 == pytest.approx(2)


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_hold_every_picture_and_codecs_are_counted_right(channels, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (11, 5, 7, channels), dtype=np.uint8)
    monkeypatch.setattr(codecs, "_SIDE", 16)  # two pictures wide, three high
    parts = codecs.sheets(images)
    assert [part.shape for part in parts] == [(15, 14, channels), (15, 14, channels)]
    cut = np.concatenate([codecs._cut(part, 5, 7) for part in parts])
    np.testing.assert_array_equal(cut[:11], images)
    rates = codecs.lossless_rates(images)
    buffers = [io.BytesIO() for _ in images]
    for image, buffer in zip(images, buffers, strict=True):
        Image.fromarray(image.squeeze()).save(buffer, "PNG", optimize=True)
    expected = 8 * sum(len(buffer.getvalue()) for buffer in buffers) / images.size
    assert rates["PNG, a file each"] == pytest.approx(expected)
    assert rates["gzip"] > 7.9  # noise
    best = codecs.lossy_rates(images)["JPEG, sheets"][-1]
    assert best.images.shape == images.shape
    assert best.row["mse"] == pytest.approx(np.square(best.images - images / 255).mean())


def test_bits_of_two_values_are_packed(opened):
    _, test = opened("bernoulli")
    assert codecs.lossless_rates(test.images)["lzma"] < 1.0


@pytest.mark.parametrize("kind", KINDS[1::2])
def test_evaluate_writes_rates_and_pictures(runs, kind, monkeypatch):
    monkeypatch.setattr(lossy, "STEPS", (1.0, 0.25))
    monkeypatch.setattr(codecs, "QUALITIES", (20, 75))
    folder, data_dir = runs(kind)
    saved = open_saved(folder, data_dir)
    results = report.evaluate(saved)
    json.dumps(results, allow_nan=False)
    figures = results["lossless"]
    assert figures["num_images"] == 250
    assert figures["bits_per_dim"] == pytest.approx(8 * figures["bytes"] / 250 / 64)
    assert (figures["others_bits_per_dim"]["pPCA"] is None) == (kind == "conditional")
    assert {row["codec"] for row in results["lossy"]} >= {"vae, 2 latents", "PCA, 10 components", "JPEG, sheets"}
    assert f"{figures['bits_per_dim']:.4f} bits/dim" in report.summary(results)[0]
    for name in "psnr", "ssim", "examples":
        assert (folder / "pictures" / f"compression-{name}.png").stat().st_size > 1000
