"""Formulas put together at random: each builds a model or is refused by an error of ours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierjax.errors import HierjaxError
from hierjax.formula import formula
from hierjax.formula.families import FAMILIES as FAMILY_TABLE
from hierjax.model import Model

pytestmark = pytest.mark.faults
RNG = np.random.default_rng(11)
FRAME = {
    "y": RNG.normal(size=24),
    "x": RNG.normal(size=24),
    "z": RNG.integers(0, 3, size=24),
    "h": RNG.choice(list("ab"), size=24),
    "g": np.repeat(np.arange(4), 6),
    "a b": RNG.uniform(size=24),
}
FACTORS = [
    "x",
    "z",
    "h",
    "`a b`",
    "log(x)",
    "I(x**2)",
    "C(z)",
    "bs(x, df=4)",
    "scale(x)",
    "h:x",
    "x*h",
    "0",
    "1",
    "poly(x, 2)",
    "(x + z)^2",
    "C(h, Sum)",
    "I(h)",
    "bs(h)",
    "C(h, 3)",
    "poly(x, x)",
    "scale(x, x, x, x)",
    "log()",
    "cr(z, df=9)",
    "C(x, levels=['a'])",
    "I(x > 0)",
    "center(h)",
    "minimum(x)",
    "I((x, z))",
    "I(x < z < 1)",
    "cc(x, df=2)",
]
GROUPS = ["g", "h", "g:h", "g/h", "z", "x", "`a b`"]
SIDES = st.lists(st.sampled_from(FACTORS), min_size=1, max_size=3).map(" + ".join)
BARS = st.builds("({} {} {})".format, SIDES, st.sampled_from(["|", "||"]), st.sampled_from(GROUPS))
RESPONSES = st.sampled_from(
    ["y", "log(y)", "scale(y)", "h", "I(y > 0)", "C(z)", "z", "z / 2", "y | se(x)", "y | cens(z)"]
)
FAMILIES = st.sampled_from(sorted(FAMILY_TABLE))


@settings(max_examples=100, deadline=None)
@given(RESPONSES, st.lists(SIDES | BARS, min_size=1, max_size=3), FAMILIES)
def test_any_formula_makes_a_model_or_is_refused(response, terms, family):
    try:
        model = formula(f"{response} ~ {' + '.join(terms)}", FRAME, family)
    except HierjaxError as error:
        assert len(str(error)) > 20
    else:
        assert isinstance(model, Model)
        assert all(np.isfinite(v).all() for v in model.data.values() if isinstance(v, np.ndarray))
        assert len(model.priors()) > 0
