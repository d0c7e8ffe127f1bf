"""Every way to write an index that we know of: followed exactly, or called unknown."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from hierjax.groups import take
from hierjax.trace import abstract_trace
from tests.level_models import COUNTY, ITEM, X

KNOWN = {(0, "first")}
BOTH = {(0, "first"), (1, "second")}
UNKNOWN = {(0, "")}

# Name, expression in the site r (5, 3) and the data; expected (axis of r, index) of its lookups.
EXPRESSIONS = {
    "row": (lambda r, first, second, x: r[first], KNOWN),
    "column": (lambda r, first, second, x: r[:, second], {(1, "second")}),
    "both": (lambda r, first, second, x: r[first, second], BOTH),
    "swapped": (lambda r, first, second, x: r[second, first % 3], {(0, "second"), (1, "")}),
    "static column": (lambda r, first, second, x: r[first, 1], KNOWN),
    "in two steps": (lambda r, first, second, x: r[first][np.arange(10), second], BOTH),
    "transposed": (lambda r, first, second, x: r.T[second], {(1, "second")}),
    "of a product": (lambda r, first, second, x: (2.0 + 3.0 * r)[first], KNOWN),
    "jnp.take": (lambda r, first, second, x: jnp.take(r, first, axis=0), KNOWN),
    "jnp.take clip": (lambda r, first, second, x: jnp.take(r, first, axis=0, mode="clip"), KNOWN),
    "jnp.take wrap": (lambda r, first, second, x: jnp.take(r, first, axis=0, mode="wrap"), UNKNOWN),
    "hj.take": (lambda r, first, second, x: take(r, first), KNOWN),
    "at get": (lambda r, first, second, x: r.at[first].get(mode="fill", fill_value=0.0), KNOWN),
    "along axis": (
        lambda r, first, second, x: jnp.take_along_axis(r[first], second[:, None], axis=1),
        BOTH,
    ),
    "vmap": (lambda r, first, second, x: jax.vmap(lambda i: r[i])(first), KNOWN),
    "vmap of both": (
        lambda r, first, second, x: jax.vmap(lambda i, j: r[i, j])(first, second),
        BOTH,
    ),
    "jit": (lambda r, first, second, x: jax.jit(lambda r, i: r[i])(r, first), KNOWN),
    "checkpoint": (lambda r, first, second, x: jax.checkpoint(lambda r: r[first])(r), KNOWN),
    "cond": (
        lambda r, first, second, x: jax.lax.cond(
            x[0] > 0, lambda: r[first, 0], lambda: r[0, second]
        ),
        BOTH,
    ),
    "with an axis": (lambda r, first, second, x: r[first[:, None]][:, 0], KNOWN),
    "reshaped": (lambda r, first, second, x: r[first.reshape(2, 5)].reshape(10, 3), KNOWN),
    "clipped": (lambda r, first, second, x: r[jnp.clip(first, 0, 4)], KNOWN),
    "other type": (lambda r, first, second, x: r[first.astype("uint8").astype(int)], KNOWN),
    "wrapped by hand": (
        lambda r, first, second, x: r[jnp.where(first < 0, first + 5, first)],
        KNOWN,
    ),
    "shifted": (lambda r, first, second, x: r[first - 1 + 3], {(0, "first + 2")}),
    "shifted twice": (lambda r, first, second, x: r[1 + (first - 2)], {(0, "first - 1")}),
    "looked up": (lambda r, first, second, x: r[first[second]], {(0, "first[second]")}),
    "chosen": (lambda r, first, second, x: r[jnp.where(x > 0, first, first + 1)], UNKNOWN),
    "mixed": (lambda r, first, second, x: r[jnp.where(x > 0, first, second)], UNKNOWN),
    "wrapped wrongly": (
        lambda r, first, second, x: r[jnp.where(second < 0, first + 5, first)],
        UNKNOWN,
    ),
    "by half": (lambda r, first, second, x: r[(first + 0.5).astype(int)], UNKNOWN),
    "divided": (lambda r, first, second, x: r[first // 2], UNKNOWN),
    "sum of two": (lambda r, first, second, x: r[first + second], UNKNOWN),
    "reversed": (lambda r, first, second, x: r[first[::-1]], UNKNOWN),
    "sorted": (lambda r, first, second, x: r[jnp.sort(first)], UNKNOWN),
    "part": (lambda r, first, second, x: r[first[:5]], UNKNOWN),
    "joined": (lambda r, first, second, x: r[jnp.concatenate([first[5:], first[:5]])], UNKNOWN),
    "from floats": (lambda r, first, second, x: r[jnp.round(x).astype(int)], UNKNOWN),
    "loop": (lambda r, first, second, x: jax.lax.map(lambda i: r[i], first), UNKNOWN),
    "one hot": (lambda r, first, second, x: jax.nn.one_hot(first, 5) @ r, set()),
    "constant": (lambda r, first, second, x: r[np.array([0, 2])], set()),
    "slice": (lambda r, first, second, x: r[1:3], set()),
    "after a sort": (lambda r, first, second, x: jnp.sort(r, axis=0)[first], set()),
    "after a flip": (lambda r, first, second, x: r[::-1][first], set()),
    "after a reshape": (lambda r, first, second, x: r.reshape(-1)[first], set()),
    "of one row": (lambda r, first, second, x: (r[:1] + jnp.zeros((5, 3)))[first], set()),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_lookup(name):
    expression, expected = EXPRESSIONS[name]

    def fn(first, second, x):
        with numpyro.plate("a", 5, dim=-2), numpyro.plate("b", 3, dim=-1):
            r = numpyro.sample("r", dist.Normal(0, 1))
        numpyro.deterministic("found", expression(r, first, second, x))

    trace = abstract_trace(fn, {"first": COUNTY, "second": ITEM, "x": X})
    assert trace.sites["found"].parents == ("r",)
    lookups = {each for each in trace.lookups["found"] if each.array[0] == "site"}
    assert {(e.array[2], "" if e.index is None else str(e.index)) for e in lookups} == expected


def test_axes_of_the_result_run_over_the_rows():
    def fn(first, x):
        with numpyro.plate("a", 5):
            r = numpyro.sample("r", dist.Normal(0, 1))
        with numpyro.plate("rows", 10):
            numpyro.sample("y", dist.Normal(r[first], 1.0), obs=x)
        numpyro.deterministic("fitted", r[first])
        numpyro.deterministic("total", r[first].sum())
        numpyro.deterministic("sorted", jnp.sort(r[first]))
        numpyro.deterministic("beside", jnp.stack([r[first], x], axis=-1))
        numpyro.deterministic("outer", r[first][:, None] - jnp.arange(3.0))

    sites = abstract_trace(fn, {"first": COUNTY, "x": X}).sites
    assert sites["fitted"].axes == ("rows",)
    assert sites["total"].axes == ()
    assert sites["sorted"].axes == ("",)
    assert sites["beside"].axes == sites["outer"].axes == ("rows", "")


def test_equal_arrays_are_not_told_apart_by_content():
    def fn(first, second):
        with numpyro.plate("a", int(np.max(first)) + 1):
            r = numpyro.sample("r", dist.Normal(0, 1))
        numpyro.deterministic("found", r[first])

    same = abstract_trace(fn, {"first": COUNTY, "second": COUNTY}).lookups["found"]
    assert {lookup.index for lookup in same} <= {None}
    other = abstract_trace(fn, {"first": COUNTY, "second": ITEM}).lookups["found"]
    assert {str(lookup.index) for lookup in other} == {"first"}
