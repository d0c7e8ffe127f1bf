"""A scale is cut into known numbers and one unknown number only where that is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.polynomial import separable

WEIGHTS = np.array([1.0, 4.0, 0.25])
LATENTS = {"s": np.array(1.7), "v": np.array([0.3])}
PRODUCTS = {
    "number": lambda h, w: h["s"],
    "known": lambda h, w: 2.0 * w,
    "over root of weights": lambda h, w: h["s"] / jnp.sqrt(w),
    "root of ratio": lambda h, w: jnp.sqrt(h["s"] / w),
    "inverse root": lambda h, w: jax.lax.rsqrt(w * h["s"]),
    "square": lambda h, w: (w * jnp.exp(h["s"])) ** 2,
    "odd power of negative factors": lambda h, w: (-w * -h["s"]) ** 3,
    "root of negative factors": lambda h, w: jnp.sqrt(-w * -h["s"]),
    "two numbers": lambda h, w: h["v"] * w / (1.0 + h["s"]),
    "picked out": lambda h, w: (h["s"] * w)[jnp.array([2, 0, 0])],
    "element of a vector": lambda h, w: h["v"][0] * w[::-1],
    "number from an array": lambda h, w: jnp.exp(h["s"] * 2.0)[None] * w,
}
NO_PRODUCTS = {
    "sum": lambda h, w: h["s"] + w,
    "root of a sum": lambda h, w: jnp.sqrt(h["s"] ** 2 + w**2),
    "floor": lambda h, w: jnp.maximum(h["s"] * w, 0.1),
    "power of the known": lambda h, w: w ** h["s"],
    "number for each row": lambda h, w: jnp.stack([h["s"], h["v"][0], h["s"]]) * w,
    "branch by row": lambda h, w: jnp.where(w > 1, h["s"], 1.0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_product_is_the_function_and_its_parts_do_not_mix(name):
    fn = PRODUCTS[name]
    with jax.enable_x64(True):
        found = separable(fn, LATENTS, WEIGHTS)
        known, number = found.product(LATENTS, WEIGHTS)
        other = {each: 3.0 * value for each, value in LATENTS.items()}
        known_there, number_there = found.product(other, WEIGHTS)
        np.testing.assert_allclose(known * number, fn(LATENTS, WEIGHTS), rtol=1e-14)
        np.testing.assert_allclose(known_there * number_there, fn(other, WEIGHTS), rtol=1e-14)
    assert number.shape == ()
    np.testing.assert_array_equal(known, known_there)


@pytest.mark.parametrize("name", NO_PRODUCTS)
def test_other_functions_are_refused(name):
    assert separable(NO_PRODUCTS[name], LATENTS, WEIGHTS) is None


def test_number_costs_no_operation_on_arrays():
    rows = 1000

    def number(h, w):
        return separable(lambda h, w: jnp.sqrt(h["s"] / w) * 2.0, h, w).product(h, w).number

    compiled = jax.jit(number, keep_unused=False).lower(LATENTS, np.ones(rows)).compile()
    assert f"[{rows}]" not in compiled.as_text()
