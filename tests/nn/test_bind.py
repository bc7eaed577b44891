"""Modules as pure functions: plain dicts, the same call after a round trip, statistics that come back."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vae_jax.nn.bind import bind


class Net(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.Dict({"first": nnx.Linear(3, 4, rngs=rngs), "second": nnx.Linear(4, 2, rngs=rngs)})
        self.norm = nnx.BatchNorm(2, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.layers["second"](self.layers["first"](x)))


def test_params_and_stats_are_plain_dicts_with_readable_paths():
    params, stats = bind(Net).init(jax.random.key(0))
    paths = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    }
    dense = {f"layers/{layer}/{leaf}" for layer in ("first", "second") for leaf in ("kernel", "bias")}
    assert paths == dense | {"norm/scale", "norm/bias"}
    assert set(stats["norm"]) == {"mean", "var"}


def test_init_depends_on_the_key_alone():
    network = bind(Net)
    first, again, other = (network.init(jax.random.key(seed))[0] for seed in (0, 0, 1))
    kernel = lambda params: np.asarray(params["layers"]["first"]["kernel"])  # noqa: E731
    np.testing.assert_array_equal(kernel(first), kernel(again))
    assert np.abs(kernel(first) - kernel(other)).max() > 0.1


def test_merge_calls_with_these_params_and_stats_returns_the_updated_ones():
    network = bind(Net)
    params, stats = network.init(jax.random.key(0))

    @jax.jit
    def call(params, stats, x):
        net = network.merge(params, stats)
        return net(x), network.stats(net)

    x = jnp.arange(12.0).reshape(4, 3)
    _, new = call(params, stats, x)
    hidden = x @ params["layers"]["first"]["kernel"] @ params["layers"]["second"]["kernel"]
    np.testing.assert_allclose(new["norm"]["mean"], 0.01 * hidden.mean(0), rtol=1e-4)
    np.testing.assert_array_equal(stats["norm"]["mean"], 0)  # what was passed in is untouched
