"""One-hot codes: true draws, exact divergences, and gradients that point the right way."""

import jax
import numpy as np
import pytest
import scipy.special

from vae_jax.prob.distributions import Normal, kl, standard_normal
from vae_jax.prob.one_hot import Joint, OneHot, uniform

LOGITS = np.float32([[[2.0, 0.0, -1.0], [0.3, 0.2, 0.1]]])  # B=1, G=2, C=3
PROBABILITIES = scipy.special.softmax(LOGITS.astype(float), -1)


def draw(q, count):
    return q.draw(jax.random.split(jax.random.key(0), 1), count)


def test_draws_are_one_hot_with_the_probabilities_of_the_logits():
    z, log_q = jax.jit(lambda logits: draw(OneHot(logits, 0.5), 20000))(LOGITS)
    parts = np.asarray(z).reshape(-1, 2, 3)
    np.testing.assert_allclose(np.sort(parts, -1), np.broadcast_to([0, 0, 1], parts.shape), atol=1e-5)
    np.testing.assert_allclose(parts.mean(0), PROBABILITIES[0], atol=0.015)
    chosen = np.take_along_axis(np.log(PROBABILITIES), parts.argmax(-1)[..., None], -1)
    np.testing.assert_allclose(np.ravel(log_q), chosen.sum((1, 2)), rtol=1e-4)


def test_kl_to_uniform_is_log_categories_less_the_entropy():
    entropy = -(PROBABILITIES * np.log(PROBABILITIES)).sum((-2, -1))
    found = jax.jit(lambda logits: OneHot(logits).kl_to(uniform(2, 3)))(LOGITS)
    np.testing.assert_allclose(found, 2 * np.log(3) - entropy, rtol=1e-5)
    assert OneHot(LOGITS).kl_to(standard_normal(6)) is None


def test_the_straight_through_gradient_raises_what_pays():
    value = np.float32([1.0, 0.0, 0.0, 0.0, 0.0, 3.0])
    slope = jax.jit(jax.grad(lambda logits: (draw(OneHot(logits, 0.5), 4000)[0] @ value).mean()))(LOGITS)[0]
    assert slope[0, 0] > 0 > slope[0, 1]
    assert slope[1, 2] > 0 > slope[1, 0]


def test_log_q_of_a_draw_has_the_gradient_of_the_divergence_to_a_uniform_prior():
    """That is all that is left of a bound of one draw where nothing else depends on z; the relaxation is biased."""
    slope = jax.jit(jax.grad(lambda logits: draw(OneHot(logits, 0.5), 20000)[1].mean()))(LOGITS)[0]
    expected = jax.jit(jax.grad(lambda logits: OneHot(logits).kl_to(uniform(2, 3)).sum()))(LOGITS)[0]
    np.testing.assert_allclose(slope[0], expected[0], rtol=0.4)
    np.testing.assert_allclose(slope[1], expected[1], atol=0.03)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_prior_draws_all_categories_unless_it_is_cold(temperature):
    z = jax.jit(lambda key: uniform(1, 4).sample(key, 400, temperature))(jax.random.key(0))
    assert len(np.unique(np.argmax(z, 1))) == (4 if temperature else 1)


def test_a_joint_code_adds_what_its_parts_say():
    normal, hot = Normal(np.float32([[0.5, -1.0]]), np.float32([[0.3, 2.0]])), OneHot(LOGITS[:, :1])

    @jax.jit
    def whole_and_parts():
        q, p_normal, p_hot = Joint(normal, hot), standard_normal(2), uniform(1, 3)
        prior, (z, log_q) = Joint(p_normal, p_hot), draw(q, 7)
        divergences = q.kl_to(prior), kl(normal, p_normal) + hot.kl_to(p_hot)
        log_qs = log_q, normal.log_prob(z[..., :2]) + hot.log_prob(z[..., 2:])
        log_ps = prior.log_prob(z), p_normal.log_prob(z[..., :2]) - np.log(3)
        return z, divergences, log_qs, log_ps, prior.sample(jax.random.key(0), 3, 0.0)

    z, divergences, log_qs, log_ps, cold = whole_and_parts()
    assert z.shape == (7, 1, 5)
    np.testing.assert_allclose(*divergences, rtol=1e-6)
    np.testing.assert_allclose(*log_qs, rtol=1e-5)
    np.testing.assert_allclose(*log_ps, rtol=1e-5)
    np.testing.assert_array_equal(cold, np.broadcast_to([0, 0, 1, 0, 0], (3, 5)))
