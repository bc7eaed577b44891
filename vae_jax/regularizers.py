"""What an autoencoder minimises beside its distance. Each public function is a `config.model.regularizer.name`.

Weights are relative to distances that are means over the pixels of an example: where a paper has the squared error
summed over the pixels, its weight is H W C times ours. A penalty on the size of the code or of its derivatives costs
nothing where the decoder may grow as the code shrinks; `model.spectral_norm=True` takes that way out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.prob.discrepancies import mmd
from vae_jax.prob.discrepancies import sliced_wasserstein as sliced_distance
from vae_jax.types import Hypers, Loss, Tree


class Coded(NamedTuple):
    """All that a penalty may look at."""

    x: jax.Array  # [B,H,W,C], what was encoded
    z: jax.Array  # [B,D], its code
    encode: Callable[[jax.Array], jax.Array]  # x -> z
    decode: Callable[[jax.Array], jax.Array]  # z [B,D] -> pictures [B,H,W,C]
    decoder_params: Tree
    index: jax.Array  # [B]
    key: jax.Array


def _identity(z: jax.Array) -> jax.Array:
    return z


class Regularizer(NamedTuple):
    """A penalty, and what it supposes of the code."""

    penalty: Callable[[Coded, Hypers], Loss]  # to be added to the distance
    code: Callable[[jax.Array], jax.Array] = _identity  # from the encoder's last layer to the code
    has_prior: bool = False  # whether codes are drawn towards N(0, I), so that it can be sampled from


NONE = Regularizer(lambda coded, _: Loss(jnp.zeros(len(coded.z)), {}))


def sparse_l1() -> Regularizer:
    """sparsity_weight |z|_1 of ReLU codes, in which most units are 0 for most pictures.

    The code of Glorot, Bordes and Bengio (2011), section 3.2.
    """

    def penalty(coded: Coded, hypers: Hypers) -> Loss:
        size = jnp.abs(coded.z).sum(1)
        active = (coded.z > 0).mean(1)
        return Loss(hypers["sparsity_weight"] * size, {"code_l1": size, "code_active": active})

    return Regularizer(penalty, jax.nn.relu)


def sparse_kl() -> Regularizer:
    """sparsity_weight sum_d KL(activity || a_d), a_d the mean over the batch of unit d of a sigmoid code, in nats.

    Ng (2011), Sparse autoencoder, section 3, where a_d is the mean over all data.
    """

    def penalty(coded: Coded, hypers: Hypers) -> Loss:
        mean, wanted = jnp.clip(coded.z.mean(0), 1e-6, 1 - 1e-6), hypers["activity"]
        kl = wanted * jnp.log(wanted / mean) + (1 - wanted) * jnp.log((1 - wanted) / (1 - mean))
        return _of_batch(coded, sparsity=hypers["sparsity_weight"] * kl.sum())

    return Regularizer(penalty, jax.nn.sigmoid)


def contractive() -> Regularizer:
    """contraction_weight ||dz/dx||_F^2, exact: one backward pass of the encoder per unit (Rifai et al. 2011, eq. 7).

    The authors' units are sigmoid, and their decoder is tied to the encoder. A linear code with a decoder of norm 1
    (`model.spectral_norm=True`) leaves as little to be gained by scaling, and the encoder as deep as one likes.
    """

    def penalty(coded: Coded, hypers: Hypers) -> Loss:
        _, pull = jax.vjp(coded.encode, coded.x)
        units = jnp.eye(coded.z.shape[1])
        rows = jax.vmap(lambda unit: pull(jnp.broadcast_to(unit, coded.z.shape))[0])(units)  # [D,B,H,W,C]
        norm = jnp.square(rows).sum((0, 2, 3, 4))
        return Loss(hypers["contraction_weight"] * norm, {"contraction": norm})

    return Regularizer(penalty)


def rae() -> Regularizer:
    """code_weight |z|^2 / 2: RAE of Ghosh et al. (2020) with no term of the decoder.

    With `model.spectral_norm=True` it is RAE-SN.
    """
    return Regularizer(lambda coded, hypers: _of_code(coded, hypers["code_weight"]))


def rae_l2() -> Regularizer:
    """code_weight |z|^2 / 2 + decoder_weight |theta|^2, theta all parameters of the decoder: RAE-L2 of Ghosh et al."""

    def penalty(coded: Coded, hypers: Hypers) -> Loss:
        squares = sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(coded.decoder_params))
        of_code = _of_code(coded, hypers["code_weight"])
        return of_code._replace(penalties={"decoder": hypers["decoder_weight"] * squares})

    return Regularizer(penalty)


def rae_gp() -> Regularizer:
    """code_weight |z|^2 / 2 + gradient_weight ||dD/dz||_F^2 at the code of each picture: RAE-GP of Ghosh et al.

    The norm is that of the whole Jacobian, estimated without bias by |(dD/dz) u|^2 with random signs u (Hutchinson
    1990): one forward derivative. The gradient of the sum of all pixels, which some take instead, leaves whatever
    brightens one pixel and darkens another free.
    """

    def penalty(coded: Coded, hypers: Hypers) -> Loss:
        signs = _per_example(jax.random.rademacher, coded.key, coded)
        _, change = jax.jvp(coded.decode, (coded.z,), (signs,))
        norm = jnp.square(change).sum((1, 2, 3))
        of_code = _of_code(coded, hypers["code_weight"])
        return Loss(of_code.per_example + hypers["gradient_weight"] * norm, {**of_code.terms, "decoder_gradient": norm})

    return Regularizer(penalty)


def wae_mmd(*, kernel: str = "imq") -> Regularizer:
    """prior_weight MMD^2(codes of the batch, as many draws of N(0, I)): WAE-MMD of Tolstikhin et al. (2018).

    Args:
        kernel: imq or rbf, see `prob.discrepancies.mmd`.
    """

    def penalty(coded: Coded, hypers: Hypers) -> Loss:
        draws = _per_example(jax.random.normal, coded.key, coded)
        return _of_batch(coded, mmd=hypers["prior_weight"] * mmd(coded.z, draws, kernel))

    return Regularizer(penalty, has_prior=True)


def sliced_wasserstein(*, num_directions: int = 50) -> Regularizer:
    """prior_weight SW^2(codes of the batch, as many draws of N(0, I)): SWAE of Kolouri et al. (2019).

    Args:
        num_directions: L, drawn anew at every step; see `prob.discrepancies.sliced_wasserstein`.
    """

    def penalty(coded: Coded, hypers: Hypers) -> Loss:
        draw_key, direction_key = jax.random.split(coded.key)
        draws = _per_example(jax.random.normal, draw_key, coded)
        directions = jax.random.normal(direction_key, (num_directions, coded.z.shape[1]))
        directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
        return _of_batch(coded, sliced=hypers["prior_weight"] * sliced_distance(coded.z, draws, directions))

    return Regularizer(penalty, has_prior=True)


def _of_code(coded: Coded, weight: jax.Array) -> Loss:
    energy = 0.5 * jnp.square(coded.z).sum(1)
    return Loss(weight * energy, {"code_energy": energy})


def _of_batch(coded: Coded, **penalties: jax.Array) -> Loss:
    return Loss(jnp.zeros(len(coded.z)), {}, penalties)


def _per_example(draw: Callable[..., jax.Array], key: jax.Array, coded: Coded) -> jax.Array:
    """Return noise [B,D] that depends on the number of an example, not on its place in a batch."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, coded.index)
    return jax.vmap(lambda key: draw(key, coded.z.shape[1:], coded.z.dtype))(keys)
