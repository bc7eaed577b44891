"""Densities that are fitted to the codes of a trained model, to draw new codes from: ex-post density estimation
(Ghosh et al. 2020, section 4).

Each public function is called as density(codes [N,D], num, temperature, seed) -> [num,D]. At temperature 0 a density
gives its centre, or of a mixture the centres of its components.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import programs
from vae_jax.errors import Diverged
from vae_jax.evaluation.fidelity import moments
from vae_jax.streams import stream
from vae_jax.trained import Trained, make_model
from vae_jax.training.optim import make_hypers, make_optimizer
from vae_jax.training.step import init_state, make_step
from vae_jax.types import Spec

_COMPONENTS = 10
_STEPS, _BATCH = 3000, 256  # of what is trained here: some seconds
_SETTINGS = {
    "hypers": {"learning_rate": 2e-3, "beta": 1.0, "kl_warmup_epochs": 0.0},
    "optimizer": {"name": "adam"},
    "schedule": {"name": "warmup_cosine", "warmup_epochs": 0.05},
    "train": {"clip_norm": 10.0, "halve_patience_epochs": None, "ema_decay": None},
}
_FLOW = {"name": "flow", "depth": 8, "width": 64}
_DENSE = {"name": "mlp", "hidden": (128, 128), "activation": "silu"}
_SECOND_STAGE = {
    "name": "vae",
    "encoder": _DENSE,
    "decoder": _DENSE,
    "posterior": {"name": "diagonal"},
    "prior": {"name": "standard_normal"},
    "likelihood": {"name": "gaussian_shared_scale"},
    "objective": {"name": "elbo"},
}


def gaussian(codes: np.ndarray, num: int, temperature: float, seed: int) -> np.ndarray:
    """Draw from N(m, t^2 S), the mean and the covariance of the codes."""
    centre, root = moments(codes)
    noise = np.random.default_rng(seed).normal(size=(num, len(root)))
    return (centre + temperature * noise @ root).astype(np.float32)


def gmm(codes: np.ndarray, num: int, temperature: float, seed: int) -> np.ndarray:
    """Draw from a mixture of 10 normals with full covariances t^2 S_k, fitted by expectation maximisation."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    centre, scale = _scales(codes)
    mixture = GaussianMixture(min(_COMPONENTS, len(codes)), random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound on the iterations is what is meant
        mixture.fit((codes - centre) / scale)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(mixture.weights_), num, p=mixture.weights_)
    noise = rng.normal(size=(num, len(scale)))
    for k, root in enumerate(np.linalg.cholesky(mixture.covariances_)):
        noise[chosen == k] = noise[chosen == k] @ root.T
    return (centre + scale * (mixture.means_[chosen] + temperature * noise)).astype(np.float32)


def flow(codes: np.ndarray, num: int, temperature: float, seed: int) -> np.ndarray:
    """Draw from a normalizing flow of 8 coupling layers, from noise N(0, t^2 I), trained on the codes."""
    centre, scale = _scales(codes)
    fitted = _train(_FLOW, (codes - centre) / scale, seed)
    return _finite(centre + scale * fitted.sample(num, None, temperature, seed).reshape(num, -1))


def two_stage(codes: np.ndarray, num: int, temperature: float, seed: int) -> np.ndarray:
    """Draw from a second VAE, of the codes, with a code u of the same size (Dai and Wipf 2019, section 4).

    A draw is f(u) + s e with u and e from N(0, t^2 I). Each of the scales s is that of the errors of f at draws of
    q(u|z), which is the likeliest.
    """
    centre, scale = _scales(codes)
    rows = ((codes - centre) / scale).astype(np.float32).reshape(len(codes), 1, 1, -1)
    fitted = _train(_SECOND_STAGE, rows.reshape(len(rows), -1), seed)
    number = np.arange(len(rows), dtype=np.int32)
    fields = {"image": rows, "input": rows, "label": np.zeros_like(number), "index": number}
    drawn = fitted.of_batches(programs.draw, fitted.model, fields, stream(seed, "posterior draws"))
    error = fitted.decode(drawn) - rows
    noise = np.random.default_rng(seed).normal(size=(num, len(scale))) * np.sqrt(np.square(error).mean((0, 1, 2)))
    drawn = fitted.sample(num, None, temperature, seed).reshape(num, -1)
    return _finite(centre + scale * (drawn + temperature * noise))


def _scales(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each latent, and its standard deviation, or 1 where it is constant."""
    scale = codes.std(0, dtype=np.float64)
    return codes.mean(0, dtype=np.float64), np.where(scale > 0, scale, 1)


def _train(settings: Mapping[str, Any], rows: np.ndarray, seed: int) -> Trained:
    """Train a model of rows [N,D], which it sees as pictures of shape (1, 1, D), with a code of size D."""
    size = rows.shape[1]
    config = {**_SETTINGS, "model": {**settings, "latent": size}}
    spec = Spec((1, 1, size), 0, np.zeros((1, 1, size), np.float32), num_examples=len(rows))
    model = make_model(config, spec)
    optimizer = make_optimizer(config, _STEPS, _STEPS)
    step = make_step(model, optimizer)

    @jax.jit
    def run(rows, model_key, data_key):
        def body(i, state):
            index = jax.random.randint(jax.random.fold_in(data_key, i), (_BATCH,), 0, len(rows))
            x = rows[index][:, None, None]
            return step(state, {"image": x, "input": x, "label": jnp.zeros_like(index), "index": index})[0]

        return jax.lax.fori_loop(0, _STEPS, body, init_state(model, optimizer, model_key, make_hypers(hypers, 1)))

    hypers = config["hypers"]
    state = run(jnp.asarray(rows, jnp.float32), stream(seed, "model"), stream(seed, "batches of codes"))
    return Trained(config, spec, model, state.params, state.stats)


def _finite(codes: np.ndarray) -> np.ndarray:
    if not np.isfinite(codes).all():
        raise Diverged("the density of the codes has diverged in training; try another --seed, or --sampler=gmm")
    return codes.astype(np.float32)
