"""As Flax's VAE example does it: Linen modules, a TrainState, one jitted step for each batch, batches from numpy."""

from __future__ import annotations

import functools
import math
import pathlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from vae_jax.benchmark.settings import BLOCK_KERNEL, KERNEL, NETS, STRIDE, Net, Setting

_STRIDES = (STRIDE, STRIDE)


class Blocks(nn.Module):
    """Residual blocks x + conv(relu(conv(relu(x)))), [N,H,W,C] -> the same."""

    channels: int
    depth: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.depth):
            y = x
            for _ in range(2):
                y = nn.Conv(self.channels, (BLOCK_KERNEL, BLOCK_KERNEL), dtype=self.dtype)(nn.relu(y))
            x = x + y
        return x


class Vae(nn.Module):
    """x [N,H,W,C], noise [N,D] -> logits [N,H,W,C], mean and log variance of q(z|x) [N,D]; all are float32."""

    net: Net
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        net, dense = self.net, functools.partial(nn.Dense, dtype=self.dtype)
        for channels in net.channels:
            x = nn.Conv(channels, (KERNEL, KERNEL), _STRIDES, dtype=self.dtype)(x)
            x = nn.relu(Blocks(channels, net.depth, self.dtype)(x))
        x = x.reshape(len(x), -1)
        for width in net.hidden:
            x = nn.relu(dense(width)(x))
        mean, log_var = (dense(net.latent)(x).astype(jnp.float32) for _ in range(2))
        z = mean + jnp.exp(0.5 * log_var) * noise
        for width in net.hidden[::-1]:
            z = nn.relu(dense(width)(z))
        return self._picture(z).astype(jnp.float32), mean, log_var

    def _picture(self, z: jax.Array) -> jax.Array:
        net = self.net
        if not net.channels:
            return nn.Dense(math.prod(net.shape), dtype=self.dtype)(z).reshape(-1, *net.shape)
        x = nn.relu(nn.Dense(math.prod(net.coarse), dtype=self.dtype)(z)).reshape(-1, *net.coarse)
        for inputs, outputs in zip(net.channels[::-1], (*net.channels[-2::-1], net.shape[2]), strict=True):
            x = nn.relu(Blocks(inputs, net.depth, self.dtype)(x))
            x = nn.ConvTranspose(outputs, (KERNEL, KERNEL), _STRIDES, dtype=self.dtype)(x)
        return x


@functools.partial(jax.jit, static_argnums=3)
def train_step(state: TrainState, batch: jax.Array, key: jax.Array, latent: int) -> tuple[TrainState, jax.Array]:
    """Return the state after a step of Adam on the -ELBO, and its value in nats per picture."""

    def loss(params):
        noise = jax.random.normal(key, (len(batch), latent))
        logits, mean, log_var = state.apply_fn({"params": params}, batch, noise)
        distortion = optax.sigmoid_binary_cross_entropy(logits, batch).sum((1, 2, 3))
        rate = 0.5 * (jnp.square(mean) + jnp.exp(log_var) - 1 - log_var).sum(-1)
        return (distortion + rate).mean()

    value, gradient = jax.value_and_grad(loss)(state.params)
    return state.apply_gradients(grads=gradient), value


def train(setting: Setting) -> Callable[[int], dict[str, float]]:
    """Return run(steps)."""
    net = NETS[setting.net]
    images = np.load(pathlib.Path(setting.data, "train.npy")).astype(np.float32)
    model = Vae(net, jnp.bfloat16 if setting.precision == "bf16" else jnp.float32)
    key = jax.random.key(setting.seed)
    params = jax.jit(model.init)(key, images[:1], jnp.zeros((1, net.latent)))["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(setting.learning_rate))
    batches = shuffled(len(images), setting)

    def run(steps: int) -> dict[str, float]:
        nonlocal state, key
        losses = []
        for _ in range(steps):
            key, noise_key = jax.random.split(key)
            state, loss = train_step(state, images[next(batches)], noise_key, net.latent)
            losses.append(loss)
        jax.block_until_ready(state.params)
        return {"loss": float(np.mean(losses))}

    return run


def shuffled(size: int, setting: Setting) -> Iterator[np.ndarray]:
    """Yield the indices of whole batches without end, in a new order for each epoch."""
    random = np.random.default_rng(setting.seed)
    while True:
        order = random.permutation(size)
        for start in range(0, size - setting.batch_size + 1, setting.batch_size):
            yield order[start : start + setting.batch_size]
