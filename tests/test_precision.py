"""The products of a function are of bfloat16 and everything else as it was, whatever they are nested in."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr

from tests.processes import python
from vae_jax.nn.conv import conv
from vae_jax.precision import with_products
from vae_jax.training.member_mesh import place_members

A, B = (jax.random.normal(key, (5, 5)) for key in jax.random.split(jax.random.key(0)))


def rounded(x):
    return x.astype(jnp.bfloat16).astype(jnp.float32)


def exact(a, b):
    return jnp.dot(a, b, precision="highest")


def products(program):
    """Return (primitive, types of the operands, type of the result) of all products, those of inner programs too."""
    found = []
    for equation in program.eqns:
        if equation.primitive.name == "dot_general" or equation.primitive.name.startswith("conv_to_"):
            kinds = {str(v.aval.dtype) for v in equation.invars}
            found.append((equation.primitive.name, kinds, str(equation.outvars[0].aval.dtype)))
        for value in equation.params.values():
            for item in value if isinstance(value, tuple) else (value,):
                found += products(item.jaxpr) if isinstance(item, ClosedJaxpr) else []
    return found


def test_fp32_is_the_function_itself():
    assert with_products("fp32", exact) is exact


def test_a_product_is_that_of_rounded_operands_summed_in_float32():
    found = with_products("bf16", lambda a, b: a @ b)(A, B)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact(rounded(A), rounded(B)), rtol=1e-5, atol=1e-5)
    assert not np.allclose(found, exact(A, B), rtol=1e-5, atol=1e-5)


def test_the_products_of_a_gradient_are_rounded_too():
    def loss(a):
        return jnp.sum(jnp.tanh(a @ B))

    slope = 1 - jnp.tanh(exact(rounded(A), rounded(B))) ** 2
    expected = exact(rounded(slope), rounded(B).T)
    np.testing.assert_allclose(with_products("bf16", jax.grad(loss))(A), expected, rtol=1e-4, atol=1e-4)


NESTED = {
    "jit": lambda a: jax.jit(lambda a: a @ B)(a),
    "scan": lambda a: jax.lax.scan(lambda c, _: (c @ B, c.sum()), a, None, length=2),
    "while": lambda a: jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] @ B), (0, a)),
    "cond": lambda a: jax.lax.cond(a[0, 0] > 0, lambda a: a @ B, lambda a: a @ B.T, a),
    "map": lambda a: jax.lax.map(lambda row: row @ B, a),
    "vmap": lambda a: jax.vmap(lambda row: row @ B)(a),
    "custom": lambda a: jax.nn.relu(a) @ B,
    "gradient of a scan": jax.grad(lambda a: jax.lax.scan(lambda c, _: (jnp.sin(c @ B), None), a, None, 2)[0].sum()),
    "convolution": jax.grad(lambda a: conv(a[None, :, :, None], B[:3, :3, None, None], 2).sum()),
}


@pytest.mark.parametrize("name", NESTED)
def test_no_product_is_left_out(name):
    plain, short = NESTED[name], with_products("bf16", NESTED[name])
    before, after = (products(jax.make_jaxpr(f)(A).jaxpr) for f in (plain, short))
    assert len(after) == len(before) > 0
    assert all(kinds == {"bfloat16"} and result == "float32" for _, kinds, result in after)
    assert all(kinds == {"float32"} for _, kinds, _ in before)
    for a, b in zip(*(jax.tree.leaves(jax.jit(f)(A)) for f in (plain, short)), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0.1, atol=0.1)


def test_a_product_with_a_precision_of_its_own_is_left_alone():
    np.testing.assert_array_equal(with_products("bf16", jax.jit(exact))(A, B), jax.jit(exact)(A, B))


def test_keys_integers_and_trees_pass():
    def draw(tree, key):
        return {"noise": jax.random.normal(key, (3,)), "sum": tree["a"] + tree["i"]}

    found = with_products("bf16", draw)({"a": A, "i": jnp.int32(2)}, jax.random.key(1))
    for name, value in draw({"a": A, "i": jnp.int32(2)}, jax.random.key(1)).items():
        np.testing.assert_array_equal(found[name], value)


def products_of_all_forms():
    """Yield products of every form and of sizes that compilers treat apart, alone and turned round, with operands."""
    for m, k, n in (128, 784, 50), (20, 1024, 500), (7, 5, 3), (64, 1, 64), (1, 64, 1):
        for of_a, of_b, turned in itertools.product((0, 1), (0, 1), (False, True)):
            a, b = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(((m, k), (k, n))))

            def product(a, b, of_a=of_a, of_b=of_b, turned=turned):
                a, b = jnp.sin(a if of_a else a.T), jnp.sin(b.T if of_b else b)
                found = jax.lax.dot_general(a, b, (((of_a,), (of_b,)), ((), ())))
                return jnp.tanh(found.T / 32) if turned else found / 32

            yield product, a, b


def multiply_in_all_forms():
    """Compare products with those of float32."""
    assert jax.device_count() == 1
    for product, a, b in products_of_all_forms():
        np.testing.assert_allclose(jax.jit(with_products("bf16", product))(a, b), product(a, b), atol=0.02)


def test_products_of_all_forms_on_a_cpu_that_is_one_device():
    """Devices that share a batch multiply in another form, so this needs a process of its own."""
    python("from tests.test_precision import multiply_in_all_forms as run; run()")


@pytest.mark.long
def test_members_multiply_as_a_cpu_that_is_one_device_does():
    """Each device has members of its own, so none has to exchange anything for that."""
    assert jax.device_count() > 1
    for product, a, b in products_of_all_forms():
        both = [jnp.stack([values, 2 * values]) for values in (a, b)]
        for found, scale in zip(of_members(product)(*both), (1, 2), strict=True):
            np.testing.assert_allclose(found, product(scale * a, scale * b), atol=0.02)


def test_products_of_members_and_of_their_gradients_are_of_bfloat16():
    gradient = jax.grad(lambda a, b: jnp.sum(jnp.tanh(a @ b)), argnums=(0, 1))
    text = of_members(gradient).lower(jnp.ones((2, 128, 784)), jnp.ones((2, 784, 64))).as_text()
    operands = re.findall(r"dot_general.* : \(tensor<[\dx]*(\w+)>, tensor<[\dx]*(\w+)>\)", text)
    assert operands == 3 * [("bf16", "bf16")]


def of_members(function):
    """Return (a, b) -> function(a, b) for each of two members on a device of its own, its products in bfloat16."""
    mapped = place_members(2, 64).over_members(lambda _, a, b: with_products("bf16", function)(a, b), at_once=False)
    return jax.jit(lambda a, b: mapped(0, (a, b)))
