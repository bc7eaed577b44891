"""VaDE: a VAE whose prior is a mixture of normals, and whose clusters are its components (Jiang et al. 2017).

Training has two parts. For `pretrain_steps` steps it is that of an autoencoder: z is the mean of q(z|x), and of the KL
divergence only what keeps the scale of q at 0.1 is left. Then a mixture is fitted to all codes; the prior starts there,
and -ELBO, the KL divergence times `beta`, is minimised. The cluster of a picture is argmax_c p(c|z) at its code z.

Their bound has a term for q(c|x), and is largest at q(c|x) = E_q[p(c|z)] (equations 8 and 16). Here c is summed over,
log p(z) = log sum_c p(c) p(z|c), so the KL divergence is that of q(z|x) to the mixture, by a draw. This is their bound
with q(c|x, z) = p(c|z) in its place, which is at least as tight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.nn.bind import bind
from vae_jax.nn.latent_variable import example_keys, views
from vae_jax.prob.distributions import Normal, kl
from vae_jax.support import latent_variable
from vae_jax.types import Model, Spec, Tree

_START = 0.1  # scale of q while z is its mean: about a tenth of the codes'
_FITS = 5  # of the mixture, from k-means; the likeliest is kept


def make(
    spec: Spec,
    *,
    latent: int,
    encoder: Mapping[str, Any],
    decoder: Mapping[str, Any],
    likelihood: Mapping[str, Any],
    components: int = 10,
) -> Model:
    """Build a VaDE.

    Args:
        spec: shape, classes, mean, kind of values and number of the data.
        latent: D, the size of z.
        encoder: a component of `nn.encoders`.
        decoder: a component of `nn.decoders`.
        likelihood: a component of `prob.likelihoods`.
        components: M, the number of clusters.

    Raises:
        ConfigError: the likelihood does not take the pixels.
    """
    parts = {"encoder": encoder, "decoder": decoder, "likelihood": likelihood}
    parts |= {"posterior": {"name": "diagonal"}, "prior": {"name": "mixture", "components": components}}
    network = bind(latent_variable(spec, latent, **parts))

    def measured(net, batch, key, hypers, step) -> tuple[jax.Array, dict[str, jax.Array]]:
        q, prior, pretrains = net.q(batch), net.p(), step < hypers["pretrain_steps"]
        z, log_qz = q.draw(example_keys(key, batch), 1)
        distortion = -net.log_px(batch["image"], jnp.where(pretrains, q.loc, z), batch["label"])[0]
        rate = (log_qz - prior.log_prob(z))[0]
        held = kl(q, Normal(q.loc, jnp.float32(_START)))
        terms = {"neg_elbo_nats": distortion + rate, "distortion_nats": distortion, "rate_nats": rate}
        return distortion + jnp.where(pretrains, held, hypers["beta"] * rate), terms

    def loss(params, stats, batch, key, hypers, step):
        net = network.merge(params, stats)
        per_example, terms = measured(net, batch, key, hypers, step)
        value = per_example.mean()
        return value, (network.stats(net), {"loss": value} | jax.tree.map(jnp.mean, terms))

    def evaluate(params, stats, batch, key, hypers):
        net = network.merge(params, stats)
        per_example, terms = measured(net, batch, key, hypers, jnp.inf)
        return {"loss": per_example, **terms, "mse": net.error(batch)}

    def clusters(params, stats, z):
        return network.merge(params, stats).p().log_joint(z)

    def refit(params, codes, seed):
        return params | {"prior": _fit(codes, components, seed)}

    return Model(network.init, loss, evaluate, **views(network), clusters=clusters, refit=refit)


def _fit(codes: np.ndarray, components: int, seed: int) -> Tree:
    """Return the parameters of a mixture with diagonal covariances that fits codes [N,D], by EM."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    vectors = codes.astype(np.float64)
    scale = vectors.std(axis=0).mean()  # one number, so that the least variance has no unit
    fit = GaussianMixture(components, covariance_type="diag", n_init=_FITS, max_iter=200, random_state=seed)
    with threadpool_limits(1):  # threads add up in any order, and a run is to be repeated to the bit
        fit.fit(vectors / scale)
    found = {
        "log_weights": np.log(fit.weights_),
        "loc": fit.means_ * scale,
        "log_scale": np.log(fit.covariances_) / 2 + np.log(scale),
    }
    return {name: value.astype(np.float32) for name, value in found.items()}
