"""Lossy compression: codes rounded to multiples of a step and entropy-coded, against the distortion they leave.

Each latent has a normal distribution fitted to the codes of *training* pictures; with it the rounded codes of other
pictures are put on a stack. Means and deviations are part of the bytes, which are decoded again before anything is
measured: a rate counts all that a receiver with the decoder needs. PCA goes through the same quantiser and coder.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import constriction
import numpy as np

from vae_jax.evaluation.baselines import fit_pca
from vae_jax.evaluation.image_quality import psnr_of, ssim
from vae_jax.trained import Trained

# Of the largest deviation of a latent: a step of twice that leaves little but the mean picture.
STEPS = (2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.125, 0.0625)

models, AnsCoder = constriction.stream.model, constriction.stream.stack.AnsCoder

_HEADER = struct.Struct("<IIdii")  # pictures, latents, step, lowest and highest multiple


class Transform(NamedTuple):
    """What turns pictures [N,H,W,C] in [0, 1] into codes [N,D] and back; the labels [N] may be needed."""

    name: str
    encode: Callable[[np.ndarray, np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray, np.ndarray], np.ndarray]
    num_classes: int = 0  # of labels that the decoder needs, and that are counted


class Rate(NamedTuple):
    """A point of a rate-distortion curve, and the pictures as they come back."""

    row: dict[str, Any]
    images: np.ndarray


def of_model(trained: Trained) -> Transform:
    """Return the transform of a model: the means of its posterior, or its codes; values outside [0, 1] are cut."""
    name = f"{trained.config['model']['name']}, {trained.config['model']['latent']} latents"
    labels = trained.spec.num_classes if trained.conditional else 0

    def decode(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.clip(trained.decode(codes, labels), 0, 1)

    return Transform(name, trained.encode, decode, labels)


def of_pca(train: np.ndarray, latent: int) -> Transform:
    """Return PCA with `latent` components of training pictures; values outside [0, 1] are cut."""
    pca = fit_pca(train, latent)

    def encode(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        del labels
        return (images.reshape(len(images), -1) - pca.mean) @ pca.components.T

    def decode(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        del labels
        return np.clip(codes @ pca.components + pca.mean, 0, 1).reshape(-1, *train.shape[1:])

    return Transform(f"PCA, {len(pca.components)} components", encode, decode)


def curve(
    transform: Transform, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> list[Rate]:
    """Return the rate-distortion curve of pictures `test` (images, labels), coded as those of `train` suggest."""
    known, codes = transform.encode(*train), transform.encode(*test)
    images, labels = test
    rates = []
    for step in np.multiply(STEPS, known.std(axis=0).max()):
        coded = pack(codes, known, float(step))
        again = transform.decode(unpack(coded).astype(np.float32), labels)
        bits = 8 * len(coded) + len(labels) * np.log2(max(transform.num_classes, 1))
        rates.append(Rate({"codec": transform.name, "step": float(step), **measure(images, again, bits)}, again))
    return rates


def measure(images: np.ndarray, again: np.ndarray, bits: float) -> dict[str, float]:
    """Return rate and distortion of pictures [N,H,W,C] in [0, 1] that came back as `again` from so many bits."""
    mse = float(np.square(images.astype(np.float64) - again).mean())
    quality = {"mse": mse, "ssim": float(ssim(images, again).mean())}
    return {"bits_per_dim": float(bits / images.size)} | ({"psnr_db": float(psnr_of(mse))} if mse else {}) | quality


def pack(codes: np.ndarray, known: np.ndarray, step: float) -> bytes:
    """Return codes [N,D], rounded to multiples of `step`, as bytes, with normal distributions fitted to codes `known`.

    A code outside the range of the known ones goes to its edge.
    """
    low, high = int(np.floor(known.min() / step)) - 1, int(np.ceil(known.max() / step)) + 1
    index = np.clip(np.rint(codes / step), low, high).astype(np.int32)
    mean, deviation = known.mean(axis=0).astype("<f4"), known.std(axis=0).astype("<f4")
    stack = AnsCoder()
    stack.encode_reverse(index.ravel(), *_model(low, high, mean, deviation, step, len(codes)))
    head = _HEADER.pack(*codes.shape, step, low, high)
    return head + mean.tobytes() + deviation.tobytes() + stack.get_compressed().astype("<u4").tobytes()


def unpack(coded: bytes) -> np.ndarray:
    """Return the rounded codes [N,D] that `pack` has put into bytes."""
    count, latents, step, low, high = _HEADER.unpack_from(coded)
    mean, deviation = np.frombuffer(coded, "<f4", 2 * latents, _HEADER.size).reshape(2, latents)
    words = np.frombuffer(coded, "<u4", offset=_HEADER.size + 8 * latents).astype(np.uint32)
    index = AnsCoder(words).decode(*_model(low, high, mean, deviation, step, count))
    return index.reshape(count, latents) * step


def _model(low: int, high: int, mean: np.ndarray, deviation: np.ndarray, step: float, count: int) -> Sequence[Any]:
    """Return the arguments that tell constriction of a normal distribution for each of count * D numbers."""
    loc = np.clip(mean.astype(np.float64) / step, low, high)
    scale = np.maximum(deviation.astype(np.float64) / step, 1e-3)
    return models.QuantizedGaussian(low, high), np.tile(loc, count), np.tile(scale, count)
