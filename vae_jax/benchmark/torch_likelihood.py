"""Importance-weighted log p(x) as a loop in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from vae_jax.benchmark.settings import WARM_UP, Setting
from vae_jax.benchmark.torch_loops import train
from vae_jax.benchmark.torch_nets import DEVICE, Vae, autocast, make_vae, pictures

_AT_ONCE = 500  # samples that are decoded at once: the fastest of 100, 500 and 5000 on a CPU


def likelihood(setting: Setting) -> Callable[[int], dict[str, float]]:
    """Return run(pictures): -log p(x) of the first so many of the test split, of a model trained for a moment."""
    model, images = make_vae(setting), pictures(setting, "test").to(DEVICE)
    train(model, setting)(WARM_UP)

    @torch.no_grad()
    def run(count: int) -> dict[str, float]:
        values = [neg_log_likelihood(model, x, setting) for x in images[:count]]
        return {"loss": torch.stack(values).mean().item()}

    return run


def neg_log_likelihood(model: Vae, x: torch.Tensor, setting: Setting) -> torch.Tensor:
    """Return the estimate of -log p(x) with k = `setting.num_samples` draws of q(z|x), in nats; x is [C,H,W]."""
    parts = []
    with autocast(setting):
        mean, log_var = model.encode(x[None])
        for start in range(0, setting.num_samples, _AT_ONCE):
            noise = torch.randn(min(_AT_ONCE, setting.num_samples - start), mean.shape[1], device=x.device)
            z = mean + torch.exp(0.5 * log_var) * noise
            logits = model.decode(z)
            log_px = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum((1, 2, 3))
            parts.append(log_px + 0.5 * (log_var + noise.square() - z.square()).sum(1))
    return math.log(setting.num_samples) - torch.logsumexp(torch.cat(parts), 0)
