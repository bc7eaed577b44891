"""The networks of the PyTorch contenders. Pictures are [N,C,H,W] here."""

from __future__ import annotations

import itertools
import math
import pathlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from vae_jax.benchmark.settings import BLOCK_KERNEL, KERNEL, NETS, STRIDE, Net, Setting

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Block(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int):
        super().__init__()
        convs = (nn.Conv2d(channels, channels, BLOCK_KERNEL, padding="same") for _ in range(2))
        self.inner = nn.Sequential(*(layer for conv in convs for layer in (nn.ReLU(), conv)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W] -> the same."""
        return x + self.inner(x)


class Vae(nn.Module):
    """Encoder and decoder of a VAE for binary pictures."""

    def __init__(self, net: Net):
        super().__init__()
        height, width, channels = net.coarse
        self.coarse, self.shape = (channels, height, width), (net.shape[2], *net.shape[:2])
        layers, inputs = [], net.shape[2]
        for outputs in net.channels:
            layers += [nn.Conv2d(inputs, outputs, KERNEL, STRIDE, (KERNEL - STRIDE) // 2)]
            layers += [*(Block(outputs) for _ in range(net.depth)), nn.ReLU()]
            inputs = outputs
        self.encoder = nn.Sequential(*layers, nn.Flatten(), *_dense((math.prod(net.coarse), *net.hidden)))
        self.mean, self.log_var = (nn.Linear(net.hidden[-1], net.latent) for _ in range(2))
        self.spread = nn.Sequential(*_dense((net.latent, *net.hidden[::-1])))
        self.decoder = self._up(net) if net.channels else nn.Linear(net.hidden[0], math.prod(net.shape))

    def _up(self, net: Net) -> nn.Module:
        layers = [*_dense((net.hidden[0], math.prod(net.coarse))), nn.Unflatten(1, self.coarse)]
        for inputs, outputs in zip(net.channels[::-1], (*net.channels[-2::-1], net.shape[2]), strict=True):
            layers += [Block(inputs) for _ in range(net.depth)] + [nn.ReLU()] * (net.depth > 0)
            layers += [nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, (KERNEL - STRIDE) // 2), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance of q(z|x), [N,D] float32, of x [N,C,H,W]."""
        features = self.encoder(x)
        return self.mean(features).float(), self.log_var(features).float()

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Return the logits of the pixels, [N,C,H,W] float32, of z [N,D]."""
        return self.decoder(self.spread(z)).float().reshape(-1, *self.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the -ELBO in nats per picture, one draw of z for each of x [N,C,H,W]."""
        mean, log_var = self.encode(x)
        logits = self.decode(mean + torch.exp(0.5 * log_var) * torch.randn_like(mean))
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        rate = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum()
        return (distortion + rate) / len(x)


def make_vae(setting: Setting) -> Vae:
    """Return the network of a setting on the device; products of float32 are TF32 there, as they are in JAX."""
    torch.manual_seed(setting.seed)
    if DEVICE == "cuda":
        torch.set_float32_matmul_precision("high")
    return Vae(NETS[setting.net]).to(DEVICE)


def pictures(setting: Setting, split: str = "train") -> torch.Tensor:
    """Return a split as float32 [N,C,H,W], in the memory of the host."""
    stored = np.load(pathlib.Path(setting.data, f"{split}.npy"))
    return torch.from_numpy(stored).permute(0, 3, 1, 2).contiguous().float()


def autocast(setting: Setting) -> torch.autocast:
    """Return the context of a forward pass: bfloat16 where the setting asks for it."""
    return torch.autocast(DEVICE, torch.bfloat16, enabled=setting.precision == "bf16")


def _dense(widths: tuple[int, ...]) -> list[nn.Module]:
    return [layer for sizes in itertools.pairwise(widths) for layer in (nn.Linear(*sizes), nn.ReLU())]
