"""How fast a library multiplies two square matrices: the peak that training is compared with."""

from __future__ import annotations

from collections.abc import Callable

from vae_jax.benchmark.settings import Setting

Run = Callable[[int], dict[str, float]]


def jax_product(setting: Setting) -> Run:
    """Return run(n): n products of sides `setting.batch_size` in JAX; of bfloat16 the result is float32."""
    import jax
    import jax.numpy as jnp

    kind = jnp.bfloat16 if setting.precision == "bf16" else jnp.float32
    sides = (setting.batch_size, setting.batch_size)
    a, b = (jax.random.normal(jax.random.key(i), sides).astype(kind) for i in range(2))
    product = jax.jit(lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.float32))

    def run(count: int) -> dict[str, float]:
        for _ in range(count):
            found = product(a, b)
        jax.block_until_ready(found)
        return {}

    return run


def torch_product(setting: Setting) -> Run:
    """Return run(n): n products of sides `setting.batch_size` in PyTorch."""
    import torch

    from vae_jax.benchmark.torch_nets import DEVICE

    if DEVICE == "cuda":
        torch.set_float32_matmul_precision("high")
    kind = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    a, b = (torch.randn(setting.batch_size, setting.batch_size, device=DEVICE).to(kind) for _ in range(2))

    def run(count: int) -> dict[str, float]:
        for _ in range(count):
            found = a @ b
        found[0, 0].item()
        return {}

    return run
