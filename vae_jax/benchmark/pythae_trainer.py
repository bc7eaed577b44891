"""pythae's VAE in the hands of its own BaseTrainer, with the networks of the other PyTorch contenders."""

from __future__ import annotations

import itertools
import logging
import pathlib
import tempfile
from collections.abc import Callable

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig

from vae_jax.benchmark.settings import NETS, WARM_UP, Setting, Unavailable
from vae_jax.benchmark.torch_nets import DEVICE, Vae, make_vae, pictures

Run = Callable[[int], dict[str, float]]


class _Encoder(BaseEncoder):
    def __init__(self, vae: Vae):
        super().__init__()
        self.vae = vae

    def forward(self, x: torch.Tensor) -> ModelOutput:
        mean, log_var = self.vae.encode(x)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class _Decoder(BaseDecoder):
    def __init__(self, vae: Vae):
        super().__init__()
        self.vae = vae

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.vae.decode(z)))  # its cross-entropy takes probabilities


def train(setting: Setting) -> Run:
    """Return run(steps): epochs of the trainer's `train_step`, without its validation and checkpoints.

    Raises:
        Unavailable: for bf16.
    """
    images = pictures(setting)
    return _run_of(_make_trainer(setting, images), images, setting.batch_size)


def likelihood(setting: Setting) -> Run:
    """Return run(pictures): `get_nll` of the first so many of the test split, with its default batch of samples."""
    images, test = pictures(setting), pictures(setting, "test").to(DEVICE)
    trainer = _make_trainer(setting, images)
    _run_of(trainer, images, setting.batch_size)(WARM_UP)

    @torch.no_grad()
    def run(count: int) -> dict[str, float]:
        return {"loss": -float(trainer.model.get_nll(test[:count], n_samples=setting.num_samples))}

    return run


def _make_trainer(setting: Setting, images: torch.Tensor) -> BaseTrainer:
    if setting.precision != "fp32":
        raise Unavailable("pythae's trainer computes the binary cross-entropy in fp32 only")
    logging.disable(logging.INFO)
    net, vae = NETS[setting.net], make_vae(setting)
    shape = (net.shape[2], *net.shape[:2])
    model = VAE(
        VAEConfig(input_dim=shape, latent_dim=net.latent, reconstruction_loss="bce"), _Encoder(vae), _Decoder(vae)
    )
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(dir=pathlib.Path(setting.data)),
        learning_rate=setting.learning_rate,
        per_device_train_batch_size=setting.batch_size,
        per_device_eval_batch_size=setting.batch_size,
        seed=setting.seed,
        no_cuda=DEVICE == "cpu",
    )
    trainer = BaseTrainer(model, _dataset(images[: setting.batch_size]), training_config=config)
    trainer.prepare_training()
    return trainer


def _run_of(trainer: BaseTrainer, images: torch.Tensor, batch_size: int) -> Run:
    """Return run(steps), in epochs of at most all whole batches of the images; each has a new order."""
    epoch, most = itertools.count(1), len(images) // batch_size

    def run(steps: int) -> dict[str, float]:
        total = 0.0
        for count in [most] * (steps // most) + [steps % most] * (steps % most > 0):
            trainer.train_loader = trainer.get_train_dataloader(_dataset(images[: count * batch_size]))
            total += count * trainer.train_step(next(epoch))
        return {"loss": total / steps}

    return run


def _dataset(images: torch.Tensor) -> BaseDataset:
    return BaseDataset(images, torch.zeros(len(images)))
