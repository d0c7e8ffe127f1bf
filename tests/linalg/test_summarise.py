import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierjax.errors import GroupIndexError, LengthError, ModelError
from hierjax.linalg import Factor, Structure, Term, summarise, summarise_stream
from tests.linalg.cases import make


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def assert_equal_statistics(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


NAMES = ["nested and crossed", "three levels", "crossed slopes", "empty groups"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_streamed_rows_give_the_same_sums(name, chunk):
    case = make(name)
    origin = np.full(case.structure.columns, 0.5)
    whole = case.statistics(origin=origin)
    streamed = summarise_stream(
        *case.rows(), weights=case.weights, offset=case.offset, origin=origin, chunk=chunk
    )
    assert_equal_statistics(streamed, whole)


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_weight_zero_do_not_exist(name):
    case = make(name)
    keep = np.arange(len(case.response)) >= 4
    # Missing responses and nonsense indexes are allowed in rows that do not exist.
    response = np.where(keep, case.response, np.nan)
    terms = [Term(np.where(keep, t.index, 0), t.design) for t in case.terms]
    ours = jax.jit(
        lambda y, terms: summarise(
            case.structure, y, terms, case.columns, weights=keep.astype(float)
        )
    )(response, terms)
    kept = [Term(t.index[keep], t.design[keep]) for t in case.terms]
    theirs = summarise(case.structure, case.response[keep], kept, case.columns[keep])
    assert_equal_statistics(ours, theirs)


def test_summarise_vmaps_over_responses():
    case = make("nested and crossed")
    responses = np.stack([case.response, -case.response])
    together = jax.vmap(lambda y: summarise(case.structure, y, case.terms, case.columns))(responses)
    alone = summarise(case.structure, responses[1], case.terms, case.columns)
    assert_equal_statistics(jax.tree.map(lambda a: a[1], together), alone)


def test_the_longest_lineage_is_eliminated():
    factors = (Factor("x", 12, 1), Factor("b", 4, 1), Factor("a", 10, 1, "b"))
    structure = Structure(factors, columns=2)
    assert structure.chain == (2, 1)
    assert structure.rest == (0,)
    assert structure.rest_size == 14
    assert Structure(factors[:2]).chain == (0,)


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ((Factor("a", 2, 1), Factor("a", 3, 1)), "distinct"),
        ((Factor("a", 2, 1, "b"),), "not among"),
        ((Factor("a", 2, 1, "b"), Factor("b", 2, 1, "a")), "nested in itself"),
        ((Factor("a", 0, 1),), "at least one group"),
    ],
)
def test_a_structure_that_cannot_be_is_refused(factors, words):
    with pytest.raises(ModelError, match=words):
        Structure(factors)


def test_rows_that_do_not_fit_the_structure_are_refused():
    structure = Structure((Factor("a", 2, 1, "b"), Factor("b", 2, 1)), columns=1)
    y, one = np.zeros(4), np.ones((4, 1))
    child, parent = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    with pytest.raises(ModelError, match="`a` is not nested in `b`"):
        summarise(structure, y, [Term(child, one), Term(parent, one)], one)
    with pytest.raises(LengthError, match="one term per factor"):
        summarise(structure, y, [Term(child, one)], one)
    with pytest.raises(LengthError, match="columns"):
        summarise(structure, y, [Term(child, one), Term(child, one)])
    with pytest.raises(LengthError, match="`b` needs"):
        summarise(structure, y, [Term(child, one), Term(child[:2], one)], one)
    with pytest.raises(GroupIndexError, match="`b`"):
        summarise(structure, y, [Term(child, one), Term(child + 1, one)], one)


def test_no_array_of_rows_times_groups_is_formed():
    structure = Structure((Factor("g", 1000, 1), Factor("h", 500, 2)), columns=1)
    rows = 200

    def build(y, g, h):
        terms = [Term(g, jnp.ones((rows, 1))), Term(h, jnp.ones((rows, 2)))]
        return summarise(structure, y, terms, jnp.ones((rows, 1)))

    shapes = [jax.ShapeDtypeStruct((rows,), kind) for kind in (float, jnp.int32, jnp.int32)]
    jaxpr = jax.make_jaxpr(build)(*shapes)
    text = str(jaxpr)
    for wide in ("200,1000", "200,500", "1000,200", "500,200"):
        assert f"[{wide}" not in text
