"""Training loops as they are written in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import DataLoader, TensorDataset

from vae_jax.benchmark.settings import Setting
from vae_jax.benchmark.torch_nets import DEVICE, Vae, autocast, make_vae, pictures

Run = Callable[[int], dict[str, float]]


def eager(setting: Setting) -> Run:
    """Return run(steps): Adam as it comes, all pictures as float32 on the device."""
    return train(make_vae(setting), setting)


def fused(setting: Setting) -> Run:
    """Return run(steps) of `eager` with Adam(fused=True)."""
    return train(make_vae(setting), setting, fused=True)


def compiled(setting: Setting) -> Run:
    """Return run(steps) of `fused` with torch.compile around network and loss."""
    return train(make_vae(setting), setting, compiled=True, fused=True)


def dataloader(setting: Setting) -> Run:
    """Return run(steps) of `eager` with batches from a DataLoader of this process."""
    return train(make_vae(setting), setting, load=_loaded)


def indexed(images: torch.Tensor, batch_size: int) -> Iterator[torch.Tensor]:
    """Yield whole batches without end out of images [N,C,H,W] on the device, in a new order for each epoch."""
    images = images.to(DEVICE)
    while True:
        order = torch.randperm(len(images), device=DEVICE)
        for start in range(0, len(images) - batch_size + 1, batch_size):
            yield images[order[start : start + batch_size]]


def train(
    model: Vae, setting: Setting, *, compiled: bool = False, fused: bool | None = None, load: Callable = indexed
) -> Run:
    """Return run(steps), which trains a model.

    Args:
        model: x -> loss, on the device.
        setting: batch size, precision, rate and data.
        compiled: whether by torch.compile.
        fused: whether Adam is one kernel.
        load: (images [N,C,H,W], batch size) -> batches without end, on the device.
    """
    optimizer = torch.optim.Adam(model.parameters(), setting.learning_rate, fused=fused)
    loss_of = torch.compile(model) if compiled else model
    batches = load(pictures(setting), setting.batch_size)

    def run(steps: int) -> dict[str, float]:
        total = torch.zeros((), device=DEVICE)
        for _ in range(steps):
            with autocast(setting):
                loss = loss_of(next(batches))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return {"loss": total.item() / steps}

    return run


def _loaded(images: torch.Tensor, batch_size: int) -> Iterator[torch.Tensor]:
    on_gpu = DEVICE == "cuda"
    loader = DataLoader(TensorDataset(images), batch_size, shuffle=True, drop_last=True, pin_memory=on_gpu)
    while True:
        for (batch,) in loader:
            yield batch.to(DEVICE, non_blocking=on_gpu)
