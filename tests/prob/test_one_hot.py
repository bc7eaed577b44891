"""One-hot codes: true draws, exact divergences, and gradients that point the right way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.prob.distributions import Normal, kl, standard_normal
from vae_jax.prob.one_hot import Joint, OneHot, uniform

LOGITS = jnp.array([[[2.0, 0.0, -1.0], [0.3, 0.2, 0.1]]])  # B=1, G=2, C=3
KEYS = jax.random.split(jax.random.key(0), 1)


def test_draws_are_one_hot_with_the_probabilities_of_the_logits():
    z, log_q = OneHot(LOGITS, 0.5).draw(KEYS, 20000)
    parts = np.asarray(z).reshape(-1, 2, 3)
    np.testing.assert_allclose(np.sort(parts, -1), np.broadcast_to([0, 0, 1], parts.shape), atol=1e-5)
    np.testing.assert_allclose(parts.mean(0), jax.nn.softmax(LOGITS[0]), atol=0.015)
    chosen = np.take_along_axis(np.asarray(jax.nn.log_softmax(LOGITS[0]))[None], parts.argmax(-1)[..., None], -1)
    np.testing.assert_allclose(log_q[:, 0], chosen.sum((1, 2)), rtol=1e-4)


def test_kl_to_uniform_is_log_categories_less_the_entropy():
    probabilities = np.asarray(jax.nn.softmax(LOGITS), np.float64)
    entropy = -(probabilities * np.log(probabilities)).sum((-2, -1))
    np.testing.assert_allclose(OneHot(LOGITS).kl_to(uniform(2, 3)), 2 * np.log(3) - entropy, rtol=1e-5)
    assert OneHot(LOGITS).kl_to(standard_normal(6)) is None


def test_the_straight_through_gradient_raises_what_pays():
    value = jnp.array([1.0, 0.0, 0.0, 0.0, 0.0, 3.0])
    slope = jax.grad(lambda logits: (OneHot(logits, 0.5).draw(KEYS, 4000)[0] @ value).mean())(LOGITS)
    assert slope[0, 0, 0] > 0 > slope[0, 0, 1]
    assert slope[0, 1, 2] > 0 > slope[0, 1, 0]


def test_log_q_of_a_draw_has_the_gradient_of_the_divergence_to_a_uniform_prior():
    """That is all that is left of a bound of one draw where nothing else depends on z; the relaxation is biased."""
    slope = jax.grad(lambda logits: OneHot(logits, 0.5).draw(KEYS, 20000)[1].mean())(LOGITS)
    expected = jax.grad(lambda logits: OneHot(logits).kl_to(uniform(2, 3)).sum())(LOGITS)
    np.testing.assert_allclose(slope[0, 0], expected[0, 0], rtol=0.4)
    np.testing.assert_allclose(slope[0, 1], expected[0, 1], atol=0.03)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_prior_draws_all_categories_unless_it_is_cold(temperature):
    z = uniform(1, 4).sample(jax.random.key(0), 400, temperature)
    assert len(np.unique(z.argmax(1))) == (4 if temperature else 1)


def test_a_joint_code_adds_what_its_parts_say():
    normal = Normal(jnp.array([[0.5, -1.0]]), jnp.array([[0.3, 2.0]]))
    hot = OneHot(LOGITS[:, :1])
    q, prior = Joint(normal, hot), Joint(standard_normal(2), uniform(1, 3))
    np.testing.assert_allclose(q.kl_to(prior), kl(normal, standard_normal(2)) + hot.kl_to(uniform(1, 3)), rtol=1e-6)
    z, log_q = q.draw(KEYS, 7)
    assert z.shape == (7, 1, 5)
    np.testing.assert_allclose(log_q, normal.log_prob(z[..., :2]) + hot.log_prob(z[..., 2:]), rtol=1e-5)
    np.testing.assert_allclose(prior.log_prob(z), standard_normal(2).log_prob(z[..., :2]) - np.log(3), rtol=1e-5)
    cold = prior.sample(jax.random.key(0), 3, 0.0)
    np.testing.assert_array_equal(cold, np.broadcast_to([0, 0, 1, 0, 0], (3, 5)))
