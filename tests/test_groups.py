import datetime

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from hierjax.errors import (
    ColumnTypeError,
    EmptyDataError,
    GroupIndexError,
    MissingValueError,
)
from hierjax.groups import (
    _copies,
    encode,
    group_sum,
    parent_of_group,
    rows_per_group,
    take,
)


@pytest.mark.parametrize(
    ("values", "index", "labels"),
    [
        (["b", "a", "b"], [1, 0, 1], ("a", "b")),
        ([3, 1, 1], [1, 0, 0], (1, 3)),
        (np.array([2.5, 0.5]), [1, 0], (0.5, 2.5)),
        ([True, False], [1, 0], (False, True)),
        (pd.Series(["x", "w"], index=[7, 3]), [1, 0], ("w", "x")),
        (pd.Categorical(["lo", "hi", "lo"], categories=["lo", "hi"]), [1, 0, 1], ("hi", "lo")),
        (np.array(["2024-02-01", "2024-01-01"], "M8[ns]"), [1, 0], None),
        ([datetime.date(2024, 2, 1), datetime.date(2024, 1, 1)], [1, 0], None),
    ],
)
def test_encode_gives_the_rank_of_each_label(values, index, labels):
    got, got_labels = encode(values)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, index)
    if labels is not None:
        assert got_labels == labels
        assert all(type(a) is type(b) for a, b in zip(got_labels, labels, strict=True))


@pytest.mark.parametrize(
    "values",
    [
        ["a", None, "b", None],
        [1.0, np.nan, 2.0, np.nan],
        pd.Series(["a", pd.NA, "b", None], dtype="string"),
        pd.Series([1, None, 2, None], dtype="Int64"),
        np.array(["2024-01-01", "NaT", "2024-01-02", "NaT"], "M8[D]"),
    ],
)
def test_encode_names_the_rows_without_a_label(values):
    with pytest.raises(MissingValueError, match=r"2 of 4 .*rows 1, 3"):
        encode(values)


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ([], EmptyDataError, "no rows"),
        ([1, "a"], ColumnTypeError, "int, str"),
        (np.zeros((2, 2)), ColumnTypeError, "one-dimensional"),
    ],
)
def test_encode_refuses(values, error, words):
    with pytest.raises(error, match=words):
        encode(values)


CASES = [  # rows, groups, trailing shape
    (0, 3, ()),
    (1, 1, ()),
    (7, 3, ()),
    (7, 20, (2,)),
    (500, 2, ()),
    (500, 2, (2, 3)),
    (2000, 40, (2,)),
]


def _random(rows, groups, trailing, seed=0):
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=(groups, *trailing))
    values = rng.normal(size=(rows, *trailing))
    return effect, rng.integers(0, groups, rows).astype(np.int32), values


def test_the_cases_reach_both_branches():
    copies = {_copies(rows, groups) for rows, groups, _ in CASES}
    assert 1 in copies
    assert max(copies) > 1


@pytest.mark.parametrize("case", CASES)
def test_take_and_group_sum_equal_loops(case):
    with jax.enable_x64(True):
        effect, index, values = _random(*case)
        np.testing.assert_array_equal(take(effect, index), effect[index])
        expected = np.zeros_like(effect)
        np.add.at(expected, index, values)
        np.testing.assert_allclose(
            group_sum(values, index, len(effect)), expected, rtol=1e-9, atol=1e-12
        )


def _loss(gather):
    def loss(effect, index, values):
        return jnp.sum(jnp.sin(gather(effect, index)) * values) + jnp.sum(
            gather(effect, index) ** 3
        )

    return loss


TRANSFORMS = {
    "value": lambda f: f,
    "jit": jax.jit,
    "grad": jax.grad,
    "jacfwd": jax.jacfwd,
    "hessian": jax.hessian,
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "hessian-vector product": lambda f: (
        lambda e, i, v: jax.jvp(lambda x: jax.grad(f)(x, i, v), (e,), (jnp.cos(e),))[1]
    ),
    "vmap grad": lambda f: (
        lambda e, i, v: jax.vmap(jax.grad(f), (0, None, None))(jnp.stack([e, 2 * e]), i, v)
    ),
    "vmap over index": lambda f: (
        lambda e, i, v: jax.vmap(jax.grad(f), (None, 0, None))(e, jnp.stack([i, i[::-1]]), v)
    ),
    "jit vmap hessian": lambda f: (
        lambda e, i, v: jax.jit(jax.vmap(jax.hessian(f), (0, None, 0)))(
            jnp.stack([e, 2 * e]), i, jnp.stack([v, -v])
        )
    ),
    "grad of remat": lambda f: jax.grad(jax.checkpoint(f)),
}


@pytest.mark.parametrize("case", [(7, 20, ()), (300, 3, (2,))])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_of_take_equals_plain_indexing(name, case):
    with jax.enable_x64(True):
        effect, index, values = map(jnp.asarray, _random(*case))
        transform = TRANSFORMS[name]
        ours = transform(_loss(take))(effect, index, values)
        plain = transform(_loss(lambda e, i: e[i]))(effect, index, values)
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_of_group_sum_equals_a_product(name):
    with jax.enable_x64(True):
        _, index, values = map(jnp.asarray, _random(200, 2, ()))

        def loss(summed):
            return lambda v, i, _: jnp.sum(jnp.sin(summed(v, i)) * jnp.arange(1.0, 3.0))

        def product(v, i):
            return (jnp.arange(2)[:, None] == i[None]) @ v

        transform = TRANSFORMS[name]
        ours = transform(loss(lambda v, i: group_sum(v, i, 2)))(values, index, values)
        plain = transform(loss(product))(values, index, values)
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-10)


def test_small_integer_types_and_tables_of_indexes():
    with jax.enable_x64(True):
        effect, index, values = _random(7000, 100, ())
        short = index.astype(np.uint8)
        expected = jax.grad(lambda e: jnp.vdot(e[index], values))(effect)
        for shape in ((7000,), (70, 100)):
            got = jax.grad(
                lambda e, s=shape: jnp.vdot(take(e, short.reshape(s)), values.reshape(s))
            )(effect)
            np.testing.assert_allclose(got, expected, rtol=1e-12)
            summed = group_sum(values.reshape(shape), short.reshape(shape), 100)
            np.testing.assert_allclose(summed, expected, rtol=1e-12)


def test_group_sum_is_the_adjoint_of_take():
    with jax.enable_x64(True):
        effect, index, values = _random(300, 4, (2,))
        left = jnp.vdot(take(effect, index), values)
        right = jnp.vdot(effect, group_sum(values, index, 4))
        np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("index", [[0, 3], [-1, 0]])
def test_an_index_out_of_range_is_refused_not_clamped(index):
    index = np.array(index)
    for call in (
        lambda: take(np.zeros(3), index),
        lambda: group_sum(np.zeros(2), index, 3),
        lambda: rows_per_group(index, 3),
    ):
        with pytest.raises(GroupIndexError, match=r"outside 0..2"):
            call()


def test_a_float_index_is_refused():
    with pytest.raises(GroupIndexError, match="integers"):
        take(np.zeros(3), np.array([0.0, 1.0]))


def test_rows_per_group_counts_empty_groups():
    np.testing.assert_array_equal(rows_per_group(np.array([2, 0, 2]), 4), [1, 0, 2, 0])


def test_parent_of_group():
    child = np.array([0, 1, 1, 3])
    np.testing.assert_array_equal(parent_of_group(child, np.array([1, 0, 0, 1]), 4), [1, 0, 0, 1])
    assert parent_of_group(child, np.array([1, 0, 1, 1]), 4) is None
