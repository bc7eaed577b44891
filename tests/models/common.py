"""What the tests of several models share."""

import jax
import numpy as np


def batch_of(images, first=0, classes=1):
    """Return a batch of numbered pictures, with labels in turn."""
    index = np.arange(len(images)) + first
    return {"image": images, "input": images, "label": index % classes, "index": index}


def own_gradients(losses, params):
    """Return the value and the gradient of the loss of each player, by name: of its own parameters, compiled."""
    run = jax.jit(lambda params: {name: jax.value_and_grad(own)(params[name]) for name, own in losses.items()})
    return run(params)


def reached(metrics, params, depth=1):
    """Return for each of the metrics, a function of the parameters, the heads of the paths of those it depends on."""
    gradients = jax.jit(jax.jacrev(metrics))(params)
    return {
        name: {"/".join(e.key for e in path[:depth]) for path, leaf in jax.tree.leaves_with_path(tree) if np.any(leaf)}
        for name, tree in gradients.items()
    }


def assert_same(found, expected, rtol=1e-4, atol=1e-6):
    """Check that two gradients are the same, and 0 throughout for no parameter."""
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
        assert np.abs(b).max() > 0
