"""Lossless coding of pictures with a trained model: `encode` to the bytes of a file, `decode` to the same pictures.

Floats: the two sides need the same ones from the network, to the bit. Within one machine that holds, since they run the
same compiled functions at the same shapes; another processor, number of threads or version of JAX may round otherwise.
So the file bears a fingerprint of the model and one of the floats that its network gave for fixed inputs, at the batch
shape of the file. Where the second differs, decoding is refused before it begins. Should a float differ all the same,
the stack does not end as it began, or the pictures have another SHA-256: an error, never other pictures.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import jax
import jaxlib
import numpy as np

from vae_jax.build import build
from vae_jax.config import fingerprint
from vae_jax.errors import ConfigError, DataError
from vae_jax.tasks.compression import bits_back
from vae_jax.tasks.compression.container import pack
from vae_jax.tasks.compression.header import check_names, plausible
from vae_jax.tasks.compression.originals import Originals
from vae_jax.trained import Trained
from vae_jax.training.fingerprint import state_sha256


def check_codable(trained: Trained) -> None:
    """Check that a model can code pictures without loss.

    Raises:
        ConfigError: it gives pixels no probabilities, but densities or nothing, or its latents cannot be coded.
    """
    if reason := why_not_codable(trained):
        raise ConfigError(reason)


def why_not_codable(trained: Trained) -> str | None:
    """Return why a model cannot code pictures without loss, or None where it can."""
    if trained.model.coding is not None:
        return None
    model = trained.config["model"]
    likelihood = model.get("likelihood")
    if likelihood and build("prob.likelihoods", likelihood)().bases:
        parts = [f"model.{part}.name={model[part]['name']!r}" for part in ("posterior", "prior") if model.get(part)]
        name = ", ".join([f"model.name={model['name']!r}", *parts])
        return (
            f"{name}: these latents cannot be coded, which takes a vae with posterior diagonal and prior "
            "standard_normal, or a ladder"
        )
    what = f"model.likelihood.name={likelihood['name']!r} is a density" if likelihood else "the model has no likelihood"
    return (
        f"{what}, and lossless coding needs probabilities of pixel values: train a vae with bernoulli (pixels of 0 "
        "and 1), beta_binomial or discretized_logistic (data.pixels=uint8)"
    )


def encode(trained: Trained, originals: Originals, label: int | None = None) -> bytes:
    """Return pictures as the bytes of a file (`container`).

    Args:
        trained: the model.
        originals: pictures of its shape, and labels where it needs them; they are stored, at log2(classes) bits each.
        label: the label of all of them.

    Raises:
        ConfigError: the model cannot code, or its labels are missing or unknown.
        DataError: a pixel is not among its values.
    """
    check_codable(trained)
    if originals.names and not check_names(originals.names, len(originals.images)):
        raise DataError("a picture file has a name with a backslash or a character that cannot be printed; rename it")
    values, unit = _values(trained, originals.images)
    labels = _labels(trained, originals, label)
    coder = bits_back.make_coder(trained, len(values))
    words, batches, initial = bits_back.encode(coder, values, labels)
    header = {
        "count": len(values),
        "shape": list(coder.shape),
        "dtype": "uint8",
        "unit": unit,  # a pixel is a value of the likelihood times this
        "channel_axis": originals.channel_axis,
        "names": originals.names,
        "labels": coder.num_classes > 0,
        "step_bits": bits_back.STEP_BITS,
        "limit": bits_back.LIMIT,
        "batch_size": coder.size,
        "batches": batches,
        "initial_words": initial,
        "software": _software(),
        "model_sha256": model_sha256(trained),
        "probe_sha256": bits_back.probe(coder),
        "pictures_sha256": _sha256(originals.images, labels),
    }
    coded, raw = pack(header, words.astype("<u4").tobytes()), _raw(trained, originals, labels)
    return coded if len(coded) < len(raw) and plausible(len(values), 4 * len(words)) else raw


def _raw(trained: Trained, originals: Originals, labels: np.ndarray) -> bytes:
    """Return the file of pictures as they are, for those that the model codes worse."""
    images, labelled = originals.images, trained.conditional and trained.spec.num_classes > 0
    header = {
        "stored": "raw",
        "count": len(images),
        "shape": list(trained.spec.shape),
        "dtype": "uint8",
        "channel_axis": originals.channel_axis,
        "names": originals.names,
        "labels": labelled,
        "model_sha256": model_sha256(trained),
        "pictures_sha256": _sha256(images, labels),
    }
    return pack(header, images.tobytes() + (labels.astype("<i4").tobytes() if labelled else b""))


def _from_raw(header: Mapping[str, Any], payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    shape = (header["count"], *header["shape"])
    size = math.prod(shape)
    labels = np.frombuffer(payload[size:], "<i4") if header["labels"] else np.zeros(header["count"], "<i4")
    return np.frombuffer(payload[:size], np.uint8).reshape(shape).copy(), labels.astype(np.int32)


def decode(trained: Trained, header: Mapping[str, Any], payload: bytes) -> Originals:
    """Return the pictures that `encode` was given, to the byte.

    Raises:
        ConfigError: the model is another one.
        DataError: the network gives other floats here than where the file was written, or the file is wrong.
    """
    found = model_sha256(trained)
    if header["model_sha256"] != found:
        raise ConfigError(
            f"the file was encoded with another model: its SHA-256 is {header['model_sha256'][:12]}..., and that of "
            f"this run {found[:12]}...; give the --workdir that it was encoded with"
        )
    check_codable(trained)
    if list(trained.spec.shape) != header["shape"]:
        raise DataError(f"the pictures of the file are {header['shape']}, and those of the model {trained.spec.shape}")
    raw = header.get("stored") == "raw"
    images, labels = _from_raw(header, payload) if raw else _from_stack(trained, header, payload)
    if _sha256(images, labels) != header["pictures_sha256"]:
        raise DataError("the decoded pictures are not those that were encoded: their SHA-256 differs")
    names = header["names"] and tuple(header["names"])
    return Originals(images, labels if header["labels"] else None, header["channel_axis"], names)


def _from_stack(trained: Trained, header: Mapping[str, Any], payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures and labels that a model has coded."""
    if (header["step_bits"], header["limit"]) != (bits_back.STEP_BITS, bits_back.LIMIT):
        raise DataError("the file was encoded on another grid of latents; decode it with the program that wrote it")
    coder = bits_back.make_coder(trained, header["count"])._replace(size=header["batch_size"])
    if bits_back.probe(coder) != header["probe_sha256"]:
        raise DataError(
            f"the network gives other floats here ({_software()}) than where the file was written "
            f"({header['software']}): decode it there, or with the same software on the same kind of processor"
        )
    stack = np.frombuffer(payload, "<u4").astype(np.uint32)
    decoded = bits_back.decode(coder, stack, header["batches"], header["initial_words"])
    if decoded is None:
        raise DataError("the payload does not end as it began: the file, or the network's floats, are wrong")
    values, labels = decoded
    return (values * header["unit"]).astype(np.uint8), labels


def model_sha256(trained: Trained) -> str:
    """Return the fingerprint of a model: its config and its parameters."""
    state = state_sha256({"params": trained.params, "stats": trained.stats})
    return hashlib.sha256(f"{fingerprint(trained.config)} {state}".encode()).hexdigest()


def _values(trained: Trained, images: np.ndarray) -> tuple[np.ndarray, int]:
    """Return pixels as the likelihood numbers its values, and what a value of 1 is stored as."""
    if np.prod(trained.model.coding.bases) > 2:
        return images, 1
    unit = 255 if images.max(initial=0) == 255 else 1
    if wrong := sorted(set(np.unique(images).tolist()) - {0, unit})[:1]:
        raise DataError(
            f"a pixel is {wrong[0]}, and the model of this run gives probabilities to black and white only: give "
            "pixels of 0 and 1, or 0 and 255, or a model of 256 levels (data.pixels=uint8)"
        )
    return images // unit, unit


def _labels(trained: Trained, originals: Originals, label: int | None) -> np.ndarray:
    count = len(originals.images)
    if not trained.conditional:
        if label is not None:
            raise ConfigError(f"--label={label}: the model of this run was not given labels (model.condition=False)")
        return np.zeros(count, np.int32)
    if label is None and originals.labels is None:
        raise ConfigError("a conditional model needs labels: in the array file, or --label for all pictures")
    labels = originals.labels if label is None else np.full(count, label, np.int32)
    if wrong := sorted(set(np.unique(labels).tolist()) - set(range(trained.spec.num_classes))):
        raise ConfigError(f"label {wrong[0]} is unknown; labels are 0..{trained.spec.num_classes - 1}")
    return labels


def _sha256(images: np.ndarray, labels: np.ndarray) -> str:
    return hashlib.sha256(images.tobytes() + labels.astype("<i4").tobytes()).hexdigest()


def _software() -> str:
    return f"jax {jax.__version__}, jaxlib {jaxlib.__version__}, {jax.local_devices()[0].device_kind}"
