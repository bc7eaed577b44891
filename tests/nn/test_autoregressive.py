"""The network is a distribution: causal, normalised over all sequences, and drawn from as it says."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.nn.autoregressive import Autoregressive

LENGTH, KINDS, CODES, LABELS = 4, 2, 3, 2
SEQUENCES = np.array(list(itertools.product(range(CODES), repeat=LENGTH)))


@functools.cache
def network():
    """Return one with parameters far from their start, so that every token matters."""
    net = Autoregressive(LENGTH, KINDS, CODES, LABELS, width=6, depth=2, rngs=nnx.Rngs(0))
    graph, params = nnx.split(net)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.7 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return nnx.merge(graph, jax.tree.unflatten(tree, moved))


@pytest.fixture(autouse=True)
def network_is_made():
    """Make it before its first use is traced."""
    network()


@jax.jit
def logits(index, context):
    return network().logits(network().embed(index), context)


def log_probs(label):
    context = np.eye(LABELS)[np.full(len(SEQUENCES), label)]
    return np.asarray(jax.jit(network().log_prob)(SEQUENCES, context), np.float64)


def test_a_token_reads_those_before_it_and_no_other():
    net, context = network(), jnp.eye(LABELS)[:1]
    jacobian = jax.jit(jax.jacobian(lambda x: net.logits(x, context)))(net.embed(SEQUENCES[5:6]))
    reads = np.abs(jacobian[0, :, :, 0]).sum((1, 3))
    np.testing.assert_array_equal(reads > 0, np.tri(LENGTH, k=-1, dtype=bool))


def test_probabilities_of_all_sequences_sum_to_one():
    for label in range(LABELS):
        assert np.exp(log_probs(label)).sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(log_probs(0) - log_probs(1)).max() > 0.1


def test_each_kind_has_its_own_embedding_and_output():
    index = jnp.zeros((1, LENGTH), int)
    embedded = network().embed(index)[0]
    np.testing.assert_array_equal(embedded[0], embedded[2])
    assert np.abs(embedded[0] - embedded[1]).max() > 0.1

    def by_output(out):
        graph, params = nnx.split(network())
        params["out"] = params["out"].replace(out)
        return nnx.merge(graph, params).logits(embedded[None], jnp.eye(LABELS)[:1])

    jacobian = jax.jit(jax.jacobian(by_output))(network().out[...])[0]
    np.testing.assert_array_equal(np.abs(jacobian).sum((1, 3, 4)) > 0, np.array([[1, 0], [0, 1]] * 2, bool))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_come_as_often_as_they_should(temperature):
    count = 20_000
    context = jnp.broadcast_to(jnp.eye(LABELS)[1], (count, LABELS))
    drawn = np.asarray(jax.jit(network().sample)(jax.random.key(0), context, temperature))
    frequency = np.bincount(drawn @ CODES ** np.arange(LENGTH)[::-1], minlength=len(SEQUENCES)) / count
    expected = np.exp(_tempered(1, temperature))
    assert np.abs(frequency - expected).max() < 5 * np.sqrt(expected.max() / count)
    assert 0.5 * np.abs(frequency - expected).sum() < np.sqrt(len(SEQUENCES) / count)


def _tempered(label, temperature):
    """Return log p of each sequence if each token is drawn from p(i | before)^(1 / temperature)."""
    scaled = logits(SEQUENCES, np.eye(LABELS)[np.full(len(SEQUENCES), label)]) / temperature
    log_prob = np.asarray(jax.nn.log_softmax(scaled))
    return np.take_along_axis(log_prob, SEQUENCES[..., None], -1).sum((1, 2))


def test_temperature_zero_takes_the_likeliest_token_each_time():
    context, sample = jnp.eye(LABELS), jax.jit(network().sample)
    cold = sample(jax.random.key(0), context, 0.0)
    np.testing.assert_array_equal(cold, sample(jax.random.key(1), context, 0.0))
    np.testing.assert_array_equal(logits(cold, context).argmax(-1), cold)
