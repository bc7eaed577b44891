"""What is measured: networks and their cost, contenders, and the setting that a process is given. Imports no JAX."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from vae_jax.build import nearest
from vae_jax.errors import ConfigError

KERNEL, STRIDE, BLOCK_KERNEL = 4, 2, 3  # of the strided convolutions, and of those within a residual block
WARM_UP = 300  # steps of training before a likelihood is measured


class Net(NamedTuple):
    """The sizes of a VAE for binary pictures; its decoder mirrors its encoder."""

    kind: str  # mlp, conv or resnet
    shape: tuple[int, int, int]  # H, W, C; sides are multiples of 2 ** len(channels)
    hidden: tuple[int, ...]  # widths of the dense layers
    latent: int
    channels: tuple[int, ...] = ()  # of the strided convolutions
    depth: int = 0  # residual blocks after each

    @property
    def coarse(self) -> tuple[int, int, int]:
        """H, W and C after the convolutions."""
        scale = STRIDE ** len(self.channels)
        return self.shape[0] // scale, self.shape[1] // scale, (self.channels or self.shape[2:])[-1]


NETS = {
    "mlp": Net("mlp", (28, 28, 1), (500,), 20),
    "conv": Net("conv", (28, 28, 1), (256,), 16, (32, 64)),
    "resnet": Net("resnet", (32, 32, 3), (256,), 64, (32, 64), 2),
    "small_mlp": Net("mlp", (28, 28, 1), (128,), 20),
}

_TRAINERS = {
    "ours": "ours.train",
    "flax": "flax_example.train",
    "torch": "torch_loops.eager",
    "torch_fused": "torch_loops.fused",
    "torch_dataloader": "torch_loops.dataloader",
    "torch_compile": "torch_loops.compiled",
    "pythae": "pythae_trainer.train",
}
# By what is measured: the function of a module of this package that makes a contender ready.
CONTENDERS: Mapping[str, Mapping[str, str]] = {
    "train": _TRAINERS,
    "startup": _TRAINERS,
    "likelihood": {
        "ours": "ours.likelihood",
        "torch": "torch_likelihood.likelihood",
        "pythae": "pythae_trainer.likelihood",
    },
    "members": {"ours_members": "ours.members", "ours": "ours.train", "pythae": "pythae_trainer.train"},
    "scaling": {"ours": "ours.train", "ours_members": "ours.members"},
    "matmul": {"jax": "matmul.jax_product", "torch": "matmul.torch_product"},
}


class Setting(NamedTuple):
    """All that a contender's process is told; plain values, so that it travels as JSON."""

    what: str  # a key of CONTENDERS
    contender: str  # a key of CONTENDERS[what]
    net: str = "mlp"  # a key of NETS
    batch_size: int = 128  # of matmul: the side of the matrices
    precision: str = "fp32"  # or bf16: products in bfloat16, parameters and losses in float32
    data: str = ""  # folder with train.npy, validation.npy and test.npy, [N,H,W,C] uint8 of 0 and 1
    seed: int = 0
    learning_rate: float = 1e-3
    num_samples: int = 0  # k of the likelihood
    num_members: int = 0
    hidden: int = 0  # of ours: the width of the dense layer in place of those of the net; 0 for the net's
    devices: int = 0  # of ours: as many GPUs or, where there is none, simulated devices; 0 for what there is

    @property
    def sizes(self) -> Net:
        """The net, with `hidden` where that is set."""
        net = NETS[self.net]
        return net._replace(hidden=(self.hidden,)) if self.hidden else net


class Unavailable(Exception):
    """A contender cannot take part; the message says why."""


def maker(setting: Setting) -> Callable[[Setting], Callable[[int], dict[str, float]]]:
    """Return the function that makes the contender ready: setting -> run(n).

    run(n) does n steps of training, or n pictures of a likelihood, or n products; it returns when they are done, with
    the figures that belong to them, such as the loss in nats per picture.
    """
    module, _, function = CONTENDERS[setting.what][setting.contender].partition(".")
    return getattr(importlib.import_module(f"vae_jax.benchmark.{module}"), function)


def library(contender: str) -> str:
    """Return what the contender multiplies matrices with: jax or torch."""
    return "torch" if contender.startswith(("torch", "pythae")) else "jax"


def choose(what: str, only: str | None) -> tuple[list[str], dict[str, str]]:
    """Return the contenders of a measurement, and why the others of them cannot take part, by name.

    Args:
        what: a key of CONTENDERS.
        only: names with commas between; None for all.

    Raises:
        ConfigError: a name is unknown, or one that is asked for needs a package that is not installed.
    """
    known, names = CONTENDERS[what], only.split(",") if only else list(CONTENDERS[what])
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"--only={only}: {unknown[0]!r} is unknown{nearest(unknown[0], known)}: {', '.join(known)}")
    missing = {name: package for name in names if (package := _missing_package(name))}
    why = {name: f"{package} is not installed: pip install -e '.[benchmark]'" for name, package in missing.items()}
    if only and why:
        raise ConfigError(f"--only={only}: {next(iter(why.values()))}")
    return [name for name in names if name not in why], why


def member_rates(count: int) -> list[float]:
    """Return a learning rate for each member, 3e-4 to 3e-3."""
    return np.geomspace(3e-4, 3e-3, count).tolist()


def train_flops(net: Net) -> int:
    """Return the floating-point operations of a training step in matrix products, per picture.

    A product of a layer's weights is taken three times, forwards, for the weights' gradient and for that of its input,
    but for the first layer's input; a multiplication and an addition are two operations.
    """
    encoder, decoder = _encoder_products(net), _decoder_products(net)
    return 2 * (3 * (sum(encoder) + sum(decoder)) - encoder[0])


def likelihood_flops(net: Net, num_samples: int) -> int:
    """Return the operations in matrix products of log p(x) with k samples, per picture."""
    return 2 * (sum(_encoder_products(net)) + num_samples * sum(_decoder_products(net)))


def _encoder_products(net: Net) -> list[int]:
    """Return the multiplications of each layer of the encoder, in order."""
    return _conv_products(net) + _dense_products((math.prod(net.coarse), *net.hidden, 2 * net.latent))


def _decoder_products(net: Net) -> list[int]:
    widths = (net.latent, *net.hidden[::-1])
    if not net.channels:
        return _dense_products((*widths, math.prod(net.shape)))
    return _dense_products((*widths, math.prod(net.coarse))) + _conv_products(net)[::-1]


def _conv_products(net: Net) -> list[int]:
    """Return those of the convolutions; a transposed one takes as many as the one that it mirrors."""
    found, pixels, inputs = [], net.shape[0] * net.shape[1], net.shape[2]
    for outputs in net.channels:
        pixels //= STRIDE**2
        found.append(pixels * KERNEL**2 * inputs * outputs)
        found += [pixels * BLOCK_KERNEL**2 * outputs**2] * (2 * net.depth)
        inputs = outputs
    return found


def _dense_products(widths: tuple[int, ...]) -> list[int]:
    return [inputs * outputs for inputs, outputs in itertools.pairwise(widths)]


def _missing_package(contender: str) -> str | None:
    """Return a package of the extra [benchmark] that a contender needs and that is not installed."""
    packages = ["torch"] * (library(contender) == "torch") + ["pythae"] * (contender == "pythae")
    return next((package for package in packages if importlib.util.find_spec(package) is None), None)
