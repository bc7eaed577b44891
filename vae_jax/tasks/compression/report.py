"""The figures of compression with a run, on its test split, and their pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from vae_jax.data.order import evenly_spaced
from vae_jax.errors import DataError
from vae_jax.evaluation.baselines import fit_pca, num_fitted
from vae_jax.reporting.figures import save_captioned, save_lines
from vae_jax.storage import subfolder
from vae_jax.tasks.compression import bits_back, codec
from vae_jax.tasks.compression.codecs import lossless_rates, lossy_rates
from vae_jax.tasks.compression.container import unpack
from vae_jax.tasks.compression.lossy import Rate, curve, of_model, of_pca
from vae_jax.tasks.compression.originals import Originals
from vae_jax.tasks.saved import Saved

_LOSSY = 2000  # test pictures, evenly spaced, of the rate-distortion curves
_SHOWN = 10


def evaluate(saved: Saved) -> dict[str, Any]:
    """Return what `compression.json` holds, and write the pictures of the lossy curves.

    Raises:
        DataError: a picture does not come back as it was.
    """
    results: dict[str, Any] = {"model_sha256": codec.model_sha256(saved.trained)}
    results["lossless"] = lossless(saved) if saved.trained.model.coding else None
    results["why_not_lossless"] = codec.why_not_codable(saved.trained)
    return results | {"lossy": lossy(saved)}


def lossless(saved: Saved) -> dict[str, Any]:
    """Code the test split, decode it, compare every picture, and return the figures.

    Raises:
        DataError: a picture does not come back as it was.
    """
    trained, test = saved.trained, saved.seen("test")
    images = stored(test["image"])
    labels = test["label"] if trained.conditional else None
    coder = bits_back.make_coder(trained, len(images))
    bits_back.probe(coder)  # compiles, so that the speeds below are those of coding
    start = time.perf_counter()
    content = codec.encode(trained, Originals(images, labels))
    between = time.perf_counter()
    again = codec.decode(trained, *unpack(content, "the coded test split"))
    end = time.perf_counter()
    if not np.array_equal(again.images, images):
        raise DataError("a picture of the test split did not come back as it was")
    neg_elbo = trained.evaluate(test["image"], labels, np.arange(len(images)))["neg_elbo_nats"].mean(dtype=np.float64)
    rate, bound = 8 * len(content) / images.size, float(neg_elbo) / math.log(2) / images[0].size
    return {
        "num_images": len(images),
        "split": "test",
        "bytes": len(content),
        "bits_per_dim": rate,  # of the whole file, with its header
        "neg_elbo_bits_per_dim": bound,
        "overhead_percent": 100 * (rate / bound - 1),
        "encode_images_per_second": len(images) / (between - start),
        "decode_images_per_second": len(images) / (end - between),
        "others_bits_per_dim": lossless_rates(images) | _ppca(saved, test["image"]),
    }


def stored(images: np.ndarray) -> np.ndarray:
    """Return pictures in [0, 1] as uint8 in 0..255."""
    return np.rint(255 * images).astype(np.uint8)


def lossy(saved: Saved) -> list[dict[str, Any]]:
    """Return the points of all rate-distortion curves, and write them as RUN/pictures/compression-*.png."""
    train, test = (_pictures(saved, split, count) for split, count in (("train", _fitted(saved)), ("test", _LOSSY)))
    transforms = [of_model(saved.trained)]
    latents = {saved.trained.config["model"]["latent"], 10, 30, 100}
    transforms += [of_pca(train[0], latent) for latent in sorted(latents) if latent < np.prod(saved.dataset.shape)]
    curves = {transform.name: curve(transform, train, test) for transform in transforms}
    curves |= lossy_rates(stored(test[0]))
    _draw(saved, test[0], curves)
    return [{"num_images": len(test[0]), **point.row} for points in curves.values() for point in points]


def summary(results: Mapping[str, Any]) -> list[str]:
    """Return the main figures in words."""
    found = results["lossless"]
    if found is None:
        return [f"not lossless: {results['why_not_lossless']}"]
    others = ", ".join(f"{name} {rate:.3f}" for name, rate in found["others_bits_per_dim"].items() if rate is not None)
    return [
        f"lossless: {found['bits_per_dim']:.4f} bits/dim, {found['overhead_percent']:.2f} % over the -ELBO of "
        f"{found['neg_elbo_bits_per_dim']:.4f}; {found['num_images']} pictures coded, decoded and equal",
        f"images/s: encode {found['encode_images_per_second']:,.0f}, decode {found['decode_images_per_second']:,.0f}",
        f"beside it: {others} bits/dim",
    ]


def _ppca(saved: Saved, images: np.ndarray) -> dict[str, float | None]:
    """Return what pPCA's density times the width of a level is worth; it is no code of pixels of two values."""
    if len(np.unique(images)) <= 2:
        return {"pPCA": None}
    pca = fit_pca(_pictures(saved, "train", _fitted(saved))[0], saved.trained.config["model"]["latent"])
    nats = pca.neg_log_likelihood(images).mean() / images[0].size
    return {"pPCA": float(nats / math.log(2) + math.log2(255))}


def _fitted(saved: Saved) -> int:
    return num_fitted(saved.dataset.sizes["train"], saved.dataset.shape)


def _pictures(saved: Saved, split: str, limit: int) -> tuple[np.ndarray, np.ndarray]:
    found = saved.seen(split, limit)
    return found["image"], found["label"]


def _draw(saved: Saved, images: np.ndarray, curves: Mapping[str, list[Rate]]) -> None:
    """Plot the curves, and show the first pictures at three rates of each, a codec a row below the originals."""
    folder = saved.folder / "pictures"
    subfolder(folder)
    # Where each picture has its own file the headers take more than the pictures of all other curves.
    curves = {name: points for name, points in curves.items() if "a file each" not in name}
    for axis, unit in (("psnr_db", "PSNR (dB)"), ("ssim", "SSIM")):
        rows = {name: [point.row for point in points if axis in point.row] for name, points in curves.items()}
        lines = {name: ([row["bits_per_dim"] for row in r], [row[axis] for row in r]) for name, r in rows.items()}
        save_lines(folder / f"compression-{axis.partition('_')[0]}.png", lines, ("bits/dim", unit), log_x=True)
    strips, captions = [_strip(images)] * 3, ["originals"] * 3
    for name, points in curves.items():
        for point in (points[i * (len(points) - 1) // 4] for i in (1, 2, 4)):
            strips.append(_strip(point.images))
            captions.append(f"{name}: {point.row['bits_per_dim']:.3f} bits/dim, mse {point.row['mse']:.4f}")
    save_captioned(folder / "compression-examples.png", np.stack(strips), captions, columns=3)


def _strip(images: np.ndarray) -> np.ndarray:
    return np.concatenate(list(images[evenly_spaced(len(images), _SHOWN)]), axis=1)
