"""The waist: all that training and evaluation know of a model, and all that an objective knows of a draw.

Shape letters: B batch, K samples of z, D latent size, H W C picture (NHWC), N data set, M sweep members.
Values are nats per example unless a name says otherwise; losses are minimised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

Tree = Any  # nested dicts of arrays
Batch = dict[str, Any]  # image [B,H,W,C] target; input [B,H,W,C] what is encoded; label [B]; index [B]
# In training by pairs (data.pairs) also partner: the Batch of pictures that share factors with these, one each.
Hypers = dict[str, jax.Array]  # traced scalars
Values = Literal["binary", "levels", "unit"]  # of a pixel: 0 or 1; k/255; any in [0, 1]. Each lies within the next


class Spec(NamedTuple):
    """What a model may know of its data before it sees a batch."""

    shape: tuple[int, int, int]  # H, W, C
    num_classes: int  # 0 where there are no labels
    mean: np.ndarray  # [H,W,C] mean training picture, in [0, 1]
    values: Values | None = None  # what x may be; None for a model that is not to be trained, which takes any
    num_examples: int = 1  # N of the training split


class Draws(NamedTuple):
    """All that a bound may look at."""

    x: jax.Array  # [B,H,W,C]
    q: Any  # the posterior q(z|x): batch [B], event [D]
    prior: Any  # p(z)
    z: jax.Array  # [K,B,D], drawn from q
    log_px: jax.Array  # [K,B] log p(x|z), summed over the pixels
    log_pz: jax.Array  # [K,B] log p(z), summed over the latents
    log_qz: jax.Array  # [K,B] log q(z|x), summed over the latents
    kl: jax.Array  # [B] KL(q || p(z)): exact where it has a closed form, else the mean of log_qz - log_pz over K
    num_examples: int  # N of the training split, which may be more than B
    key: jax.Array  # randomness left for the objective

    @property
    def log_weights(self) -> jax.Array:
        """[K,B] log p(x,z) - log q(z|x)."""
        return self.log_px + self.log_pz - self.log_qz

    @property
    def terms(self) -> dict[str, jax.Array]:
        """The plain bound and its two parts, each [B], to log beside whatever is minimised."""
        distortion = -self.log_px.mean(0)
        return {"neg_elbo_nats": distortion + self.kl, "distortion_nats": distortion, "rate_nats": self.kl}


class Loss(NamedTuple):
    """What an objective says of a batch."""

    per_example: jax.Array  # [B], minimised in its mean
    terms: dict[str, jax.Array]  # to log, each [B]
    penalties: dict[str, jax.Array] = {}  # noqa: RUF012
    """Scalars of the batch as a whole, added to that mean in training, and logged as 'penalty_<name>'. They have no
    value for an example, so evaluation has none of them, and its 'loss' is the mean without. Under `jax.pmap` the batch
    is that of a device."""
    inference: jax.Array | None = None
    """[B]: what the encoder and the posterior descend, where that is another loss than the decoder and prior's"""


Objective = Callable[[Draws, Hypers, jax.Array], Loss]  # (draws, hypers, step)


class Coding(NamedTuple):
    """What entropy coding needs of a model whose pixels have probability masses: layers of latents, and pixel values.

    Layers of latents are numbered from the top. `above` holds the latents [B,D] of those above the layer meant, so its
    length says which one that is: with one layer it is empty.
    """

    sizes: tuple[int, ...]  # D of each layer
    bases: tuple[int, ...]  # of the digits that a pixel's value is written in, the highest first: (2,) or (16, 16)
    posterior: Callable[..., Any]  # (params, stats, batch, above) -> q(z|x, above), with loc and scale [B,D]
    prior: Callable[..., Any]  # (params, stats, label [B], above) -> p(z|above), with loc and scale [B,D]
    maps: Callable[..., jax.Array]  # (params, stats, label [B], all latents) -> what a decoder says of the pixels
    digit: Callable[..., jax.Array]  # (maps, digits before, [B,H,W,C] each) -> [B,H,W,C,base] masses of the next one


class Model(NamedTuple):
    """A model as pure functions. `params` and `stats` are nested dicts of arrays; keys are typed PRNG keys.

    Noise is keyed by `batch['index']`, so no value depends on how examples are grouped into batches.
    """

    init: Callable[..., tuple[Tree, Tree]]  # (key) -> (params, stats)
    loss: Callable[..., tuple[jax.Array, tuple[Tree, dict[str, jax.Array]]]]
    """(params, stats, batch, key, hypers, step) -> (scalar, (stats, scalar metrics)); where 'convergence' is among the
    metrics, the progress of training is told by it and not by 'loss' (train.halve_patience_epochs)"""
    evaluate: Callable[..., dict[str, jax.Array]]
    """(params, stats, batch, key, hypers) -> metrics, every value [B]; 'loss' is what training minimises, fully warmed
    up, and what validation selects by"""
    log_weights: Callable[..., jax.Array] | None
    """(params, stats, batch, key, k) -> [k,B] log p(x,z) - log q(z|x); None where there is no likelihood"""
    encode: Callable[..., jax.Array]  # (params, stats, batch) -> [B,D], deterministic
    decode: Callable[..., jax.Array]  # (params, stats, z [N,D], label [N]) -> [N,H,W,C] mean picture
    sample: Callable[..., jax.Array] | None
    """(params, stats, key, label [N], temperature) -> [N,H,W,C] mean pictures; None where there is no prior"""
    draw: Callable[..., jax.Array] | None = None
    """(params, stats, batch, key) -> [B,D], a draw of q(z|x); None where `encode` says all there is"""
    generate: Callable[..., jax.Array] | None = None
    """(params, stats, z [N,D], label [N]) -> [N,H,W,C], what `sample` makes of z ~ N(0, I), where `decode` is not it"""
    coding: Coding | None = None  # None where pixels have no probability mass, or there is no prior
    groups: Callable[[Tree], Tree] | None = None
    """(params) -> the name of a group for each leaf: each group has its own clipping and state of the optimizer"""
    clusters: Callable[..., jax.Array] | None = None
    """(params, stats, z [N,D]) -> log p(c, z) [N,M] of the components c of a prior that are clusters"""
    refit: Callable[[Tree, np.ndarray, int], Tree] | None = None
    """(params, codes [N,D], seed) -> params, called once, on the host, after hypers['pretrain_steps'] steps; the codes
    are those of the training split"""
    alarm: Callable[[Mapping[str, float]], str | None] | None = None
    """(metrics of a chunk of training, each its mean) -> a warning, where something has gone wrong"""


class TrainState(NamedTuple):
    """All that training carries from one step to the next; a checkpoint is exactly this and the best parameters."""

    step: jax.Array  # int32, steps done
    params: Tree
    stats: Tree
    opt_state: Tree
    key: jax.Array
    hypers: Hypers
