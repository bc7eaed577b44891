"""p(x|z): how a decoder's output becomes a distribution over pictures. Each public function of the files here is a
`config.model.likelihood.name`.

Log-likelihoods are in nats, summed over all pixels and channels, with every constant. Bernoulli gives a probability
mass, and takes pixels of 0 and 1 only; the beta-binomial, the discretised logistic, its mixture and the categorical
give masses to the 256 levels k/255. The others give densities on [0, 1] pixels: compare them with other densities only
(such as pPCA's). Masses mean bits as well: nats / (ln 2 * H W C) are bits per dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from vae_jax.types import Values


class Likelihood(NamedTuple):
    """A family p(x | maps, shared).

    maps [N,H,W,C,P] come from the decoder; shared are scalars that are the same for all pixels: the parameters of the
    field `shared`, which are learned by gradient, and the statistics of the field `fitted`, which are not.
    """

    support: Values  # the widest kind of pixels that it has a probability or a density for
    num_maps: int  # P
    shared: dict[str, float]  # name -> initial value
    offset: Callable[[np.ndarray], np.ndarray]  # mean picture [H,W,C] -> the first map's initial value [H,W,C]
    log_prob: Callable[[jax.Array, dict[str, jax.Array], jax.Array], jax.Array]  # (maps, shared, x [N,H,W,C]) -> [N]
    mean: Callable[[jax.Array], jax.Array]  # maps -> mean picture [N,H,W,C]
    bases: tuple[int, ...] = ()
    """A probability mass has its values numbered from 0 and written in digits of these bases; () for a density"""
    digit: Callable[[jax.Array, tuple[jax.Array, ...]], jax.Array] | None = None
    """(maps, the digits before [N,H,W,C] each, the highest first) -> [N,H,W,C,base], the masses of the next digit.
    Two digits of 16 take 32 masses of a pixel where a table takes 256: most of the time of an entropy coder"""
    fitted: dict[str, float] = {}  # noqa: RUF012
    """name -> initial value of a statistic. A model keeps it in its stats, as a moving average over the batches of
    training, new = 0.99 old + 0.01 fit. Evaluation takes it as it stands, so that no value depends on a batch"""
    fit: Callable[[jax.Array, jax.Array], dict[str, jax.Array]] | None = None
    """(maps, x) -> the values of `fitted` that suit these pictures, scalars; None where there are none"""
