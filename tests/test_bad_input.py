"""A table of bad input: what is given, the error that it gives, and words of its message."""

import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
from jax import numpy as jnp

import hierjax as hj

pytestmark = pytest.mark.faults
FRAME = pd.DataFrame(
    {
        "y": np.arange(12.0),
        "x": np.linspace(0, 1, 12),
        "g": list("aabbccddeeff"),
        "n": [3] * 12,
        "count": [0, 1, 2, 3] * 3,
        "s": np.full(12, 0.5),
        "e": [np.nan] * 12,
        "same": [1.0] * 12,
        "date": pd.date_range("2020-01-01", periods=12),
        "obj": [{}] * 12,
        "one": ["a"] * 12,
    }
)
TEXT = "y ~ x + (1 | g)"
DATA = {"y": np.arange(6.0), "group": np.array([0, 0, 1, 1, 2, 2]), "num_groups": 3}


def but(**columns):
    return FRAME.assign(**columns)


def groups(y, group, num_groups):
    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("group", num_groups):
        u = numpyro.sample("u", dist.Normal(0, sd))
    with numpyro.plate("rows", y.shape[0]):
        numpyro.sample("y", dist.Normal(u[group], 1.0), obs=y)


def made(**arguments):
    return hj.Model(groups, {**DATA, **arguments})


def fit(model, **options):
    return hj.fit(model, progress=False, **options)


def branching(y):
    x = numpyro.sample("x", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(1.0 if x > 0 else 0.0, 1), obs=y)


def failing(y):
    return y / (1 / 0)


def without_latent(y):
    numpyro.sample("y", dist.Normal(0, 1), obs=y)


def without_observed():
    numpyro.sample("x", dist.Normal(0, 1))


def without_sites(y):
    return y


def with_one_name():
    numpyro.sample("x", dist.Normal(0, 1))
    numpyro.sample("x", dist.Normal(0, 1))


def with_a_count(y):
    numpyro.sample("y", dist.Normal(numpyro.sample("k", dist.Poisson(1.0)), 1), obs=y)


BAD = {
    "unclosed": (
        lambda: hj.formula("y ~ x + (1 | g", FRAME),
        "FormulaError",
        "This bracket is never closed.",
    ),
    "no tilde": (
        lambda: hj.formula("y + x", FRAME),
        "FormulaError",
        "A formula has one `~` between the response and the terms.",
    ),
    "two tildes": (
        lambda: hj.formula("y ~ x ~ g", FRAME),
        "FormulaError",
        "A formula has one `~` between the response and the terms.",
    ),
    "empty": (
        lambda: hj.formula("", FRAME),
        "FormulaError",
        "The formula is empty; write for example 'y ~ x + (1 | g)'.",
    ),
    "no response": (
        lambda: hj.formula("~ x", FRAME),
        "FormulaError",
        "The response is missing before `~`.",
    ),
    "nothing right": (
        lambda: hj.formula("y ~", FRAME),
        "FormulaError",
        "Something is missing at the end of the formula.",
    ),
    "bar without brackets": (
        lambda: hj.formula("y ~ x | g", FRAME),
        "FormulaError",
        "Put a group term in brackets: (1 | g).",
    ),
    "empty group": (
        lambda: hj.formula("y ~ (1 | )", FRAME),
        "FormulaError",
        "Right of the bar stands a column (g, a:b or a/b).",
    ),
    "empty effects": (
        lambda: hj.formula("y ~ ( | g)", FRAME),
        "FormulaError",
        "Left of the bar stand the effects that vary: (1 | g).",
    ),
    "unknown column": (
        lambda: hj.formula("y ~ xx + (1|g)", FRAME),
        "UnknownColumnError",
        "The data have no column `xx`. Did you mean `x`? Columns:",
    ),
    "unknown group": (
        lambda: hj.formula("y ~ x + (1|gg)", FRAME),
        "UnknownColumnError",
        "The data have no column `gg`. Did you mean `g`? Columns:",
    ),
    "unknown response": (
        lambda: hj.formula("yy ~ x", FRAME),
        "UnknownColumnError",
        "The data have no column `yy`. Did you mean `y`? Columns:",
    ),
    "function": (
        lambda: hj.formula("y ~ lag(x)", FRAME),
        "FormulaError",
        "`lag` is not a function of formulas: allowed are C, Diff,",
    ),
    "code": (
        lambda: hj.formula("y ~ __import__('os').system('true')", FRAME),
        "FormulaError",
        "`__import__` is not a function of formulas: allowed are",
    ),
    "attribute": (
        lambda: hj.formula("y ~ x.mean()", FRAME),
        "FormulaError",
        "`x.mean` is not a function of formulas: allowed are C,",
    ),
    "index": (
        lambda: hj.formula("y ~ x[0]", FRAME),
        "FormulaError",
        "'[' has no meaning in a formula (a column with such a",
    ),
    "semicolon": (
        lambda: hj.formula("y ~ x; x", FRAME),
        "FormulaError",
        "';' has no meaning in a formula (a column with such a",
    ),
    "smooth": (
        lambda: hj.formula("y ~ s(x)", FRAME),
        "FormulaError",
        "`s` is not a function of formulas: write bs(x, df=6), or",
    ),
    "not text": (
        lambda: hj.formula(3, FRAME),
        "FormulaError",
        "A formula, the first argument, is a text such as 'y ~ x +",
    ),
    "swapped": (
        lambda: hj.formula(FRAME, "y ~ x"),
        "FormulaError",
        "A formula, the first argument, is a text such as 'y ~ x +",
    ),
    "no data": (
        lambda: hj.formula("y ~ x", None),
        "ColumnTypeError",
        "`data`, the second argument, must be a data frame or a",
    ),
    "dict of unequal": (
        lambda: hj.formula("y ~ x", {"y": [1, 2], "x": [1, 2, 3]}),
        "LengthError",
        "Columns must have one length; got `y` 2, `x` 3.",
    ),
    "empty frame": (
        lambda: hj.formula("y ~ x", FRAME[:0]),
        "EmptyDataError",
        "The data have no rows.",
    ),
    "missing response": (
        lambda: hj.formula("y ~ x", but(y=[np.nan] + [1.0] * 11)),
        "MissingValueError",
        "Values are missing: `y` in row 0 (counted from 0). Fill",
    ),
    "missing predictor": (
        lambda: hj.formula("y ~ x", but(x=[np.nan] + [1.0] * 11)),
        "MissingValueError",
        "Values are missing: `x` in row 0 (counted from 0). Fill",
    ),
    "missing group": (
        lambda: hj.formula(TEXT, but(g=[None, *"abbccddeeff"])),
        "MissingValueError",
        "Values are missing: `g` in row 0 (counted from 0). Fill",
    ),
    "infinite": (
        lambda: hj.formula("y ~ x", but(x=[np.inf] + [1.0] * 11)),
        "NonFiniteError",
        "Column `x` has infinite values in row 0 (counted from 0).",
    ),
    "all missing": (
        lambda: hj.formula("y ~ e", FRAME),
        "MissingValueError",
        "Values are missing: `e` in rows 0, 1, 2, 3, 4, 5, 6, 7,",
    ),
    "constant predictor": (
        lambda: hj.formula("y ~ same", FRAME),
        "RankError",
        "Columns of the design are linearly dependent: `same` has",
    ),
    "collinear": (
        lambda: hj.formula("y ~ x + z", but(z=2 * FRAME.x)),
        "RankError",
        "Columns of the design are linearly dependent: `z` follows",
    ),
    "one level": (
        lambda: hj.formula("y ~ one", FRAME),
        "RankError",
        "The term `one` adds nothing to the design: a column in it",
    ),
    "one group": (
        lambda: hj.formula("y ~ (1|one)", FRAME),
        "GroupCountError",
        "Grouping factor `one` has one group only ('a'), so its",
    ),
    "text response": (
        lambda: hj.formula("g ~ x", FRAME),
        "ColumnTypeError",
        "The response `g` holds text or categories, not numbers;",
    ),
    "dates": (
        lambda: hj.formula("y ~ date", FRAME),
        "ColumnTypeError",
        "Column `date` holds datetime64[us] values; turn them into",
    ),
    "objects": (
        lambda: hj.formula("y ~ obj", FRAME),
        "ColumnTypeError",
        "Column `obj` mixes values of several types (dict); make",
    ),
    "duplicate columns": (
        lambda: hj.formula("y ~ x", pd.concat([FRAME, FRAME[["x"]]], axis=1)),
        "DataError",
        "The data have two columns called `x`; rename one.",
    ),
    "complex": (
        lambda: hj.formula("y ~ x", but(y=FRAME.y + 1j)),
        "ColumnTypeError",
        "Column `y` holds complex128 values; turn them into",
    ),
    "negative poisson": (
        lambda: hj.formula("y ~ x", but(y=FRAME.y - 3), family="poisson"),
        "SupportError",
        "The response `y` must be a whole number, 0 or more for",
    ),
    "fraction poisson": (
        lambda: hj.formula("y ~ x", but(y=FRAME.y + 0.5), family="poisson"),
        "SupportError",
        "The response `y` must be a whole number, 0 or more for",
    ),
    "bernoulli 2": (
        lambda: hj.formula("count ~ x", FRAME, family="bernoulli"),
        "SupportError",
        "The response `count` must be 0 or 1 for the family",
    ),
    "binomial no trials": (
        lambda: hj.formula("count ~ x", FRAME, family="binomial"),
        "FormulaError",
        "The family binomial needs the number of trials of each",
    ),
    "binomial above": (
        lambda: hj.formula("y ~ x", FRAME, family="binomial", trials="n"),
        "SupportError",
        "The response `y` must be a whole number from 0 to its",
    ),
    "gamma zero": (
        lambda: hj.formula("y ~ x", FRAME, family="gamma"),
        "SupportError",
        "The response `y` must be greater than 0 for the family",
    ),
    "beta 1": (
        lambda: hj.formula("y ~ x", FRAME, family="beta"),
        "SupportError",
        "The response `y` must be greater than 0 and less than 1",
    ),
    "lognormal zero": (
        lambda: hj.formula("y ~ x", FRAME, family="lognormal"),
        "SupportError",
        "The response `y` must be greater than 0 for the family",
    ),
    "categorical one": (
        lambda: hj.formula("one ~ x", FRAME, family="categorical"),
        "SupportError",
        "The response `one` has one category only ('a'), so there",
    ),
    "unknown family": (
        lambda: hj.formula("y ~ x", FRAME, family="gausian"),
        "FormulaError",
        "There is no family 'gausian'; families are gaussian,",
    ),
    "unknown option column": (
        lambda: hj.formula("y ~ x", FRAME, weights="ww"),
        "UnknownColumnError",
        "The data have no column `ww`. Columns: `y`, `x`, `g`,",
    ),
    "negative weights": (
        lambda: hj.formula("y ~ x", but(s=-1.0), weights="s"),
        "SupportError",
        "The weights must be positive, but they are not in rows 0,",
    ),
    "zero known sd": (
        lambda: hj.formula("y ~ x", but(s=0.0), known_sd="s"),
        "SupportError",
        "The known standard errors must be positive, but they are",
    ),
    "censored marks": (
        lambda: hj.formula("y ~ x", FRAME, censored="g"),
        "SupportError",
        "Marks of censoring are 'none', 'left' and 'right', or 0,",
    ),
    "trials gaussian": (
        lambda: hj.formula("y ~ x", FRAME, trials="n"),
        "FormulaError",
        "The family gaussian has no trials; for successes out of",
    ),
    "prior slot": (
        lambda: hj.formula(TEXT, FRAME, priors={"sd_gg": dist.HalfNormal(1)}),
        "PriorError",
        "The model has no prior slot 'sd_gg'. Did you mean `sd_g`?",
    ),
    "prior negative": (
        lambda: hj.formula(TEXT, FRAME, priors={"sd_g": dist.Normal(0, 1)}),
        "PriorError",
        "`sd_g` is positive, but the prior Normal(0, 1) of",
    ),
    "prior text": (
        lambda: hj.formula(TEXT, FRAME, priors={"b": "normal"}),
        "PriorError",
        "`priors['b']` must be a NumPyro distribution, such as",
    ),
    "prior shape": (
        lambda: hj.formula(TEXT, FRAME, priors={"b": dist.Normal(jnp.zeros(3), 1)}),
        "PriorError",
        "`priors['b']` has shape (3,), but a prior for `b_x` must",
    ),
    "prior discrete": (
        lambda: hj.formula(TEXT, FRAME, priors={"b": dist.Poisson(1.0)}),
        "PriorError",
        "`priors['b']` must be a distribution over numbers;",
    ),
    "prior list": (
        lambda: hj.formula(TEXT, FRAME, priors=[dist.Normal(0, 1)]),
        "PriorError",
        "`priors` is a mapping from slot to prior, such as {'b':",
    ),
    "index out of range": (
        lambda: fit(made(group=np.array([0, 0, 1, 1, 2, 3]))),
        "GroupIndexError",
        "data['group'] indexes level 'group' of site 'u', which",
    ),
    "index negative": (
        lambda: fit(made(group=np.array([0, 0, 1, 1, 2, -1]))),
        "GroupIndexError",
        "data['group'] indexes level 'group' of site 'u', which",
    ),
    "index float": (
        lambda: fit(made(group=np.array([0, 0, 1, 1, 2, 2.0]))),
        "ModelError",
        "s: make them by `index, labels = hj.encode(values)`.",
    ),
    "data nan": (
        lambda: fit(made(y=np.array([0, 1, 2, 3, 4, np.nan]))),
        "MissingValueError",
        "data['y']: 1 value is missing (NaN), at row 5. Drop those",
    ),
    "data inf": (
        lambda: fit(made(y=np.array([0, 1, 2, 3, 4, np.inf]))),
        "NonFiniteError",
        "data['y']: 1 value is infinite, at row 5. Drop those",
    ),
    "data text": (
        lambda: fit(made(y=np.array(list("abcdef")))),
        "DataError",
        "data['y'] holds text or objects, which a model cannot",
    ),
    "wrong length": (
        lambda: fit(made(group=np.array([0, 1]))),
        "ModelError",
        "patible shapes for broadcasting: shapes=[(6,), (2,)]",
    ),
    "missing argument": (
        lambda: fit(hj.Model(groups, {"y": DATA["y"]})),
        "ModelError",
        "The data of a model are the arguments of its function.",
    ),
    "extra argument": (
        lambda: fit(made(z=1)),
        "ModelError",
        "The data of a model are the arguments of its function.",
    ),
    "not callable": (
        lambda: fit(hj.Model("model", DATA)),
        "ModelError",
        "`fn` must be a NumPyro function; got str.",
    ),
    "no latent": (
        lambda: fit(hj.Model(without_latent, {"y": 1.0})),
        "ModelError",
        "the model has no latent site: there is nothing to infer.",
    ),
    "no observed": (
        lambda: fit(hj.Model(without_observed, {})),
        "ModelError",
        "the model has no observed site, so that there is nothing",
    ),
    "no sites": (
        lambda: fit(hj.Model(without_sites, {"y": 1.0})),
        "ModelError",
        "the model has no latent site: there is nothing to infer.",
    ),
    "twice a site": (
        lambda: fit(hj.Model(with_one_name, {})),
        "ModelError",
        "two sites are called 'x'; site names must be unique.",
    ),
    "discrete latent": (
        lambda: fit(hj.Model(with_a_count, {"y": 1.0})),
        "ModelError",
        "site 'k' is discrete (Poisson), which no gradient-based",
    ),
    "branch": (
        lambda: fit(hj.Model(branching, {"y": 1.0})),
        "ModelError",
        "te or of an array: write jnp.where(condition, a, b).",
    ),
    "raises": (
        lambda: fit(hj.Model(failing, {"y": 1.0})),
        "ModelError",
        "ZeroDivisionError: division by zero",
    ),
    "method": (
        lambda: fit(made(), method="nut"),
        "SettingsError",
        "`method` must be one of 'auto', 'nuts', 'laplace', 'svi',",
    ),
    "method class": (
        lambda: fit(made(), method=hj.NUTS),
        "SettingsError",
        "`method` must be a name or a settings object such as",
    ),
    "effects": (
        lambda: fit(made(), effects="non-centred"),
        "SettingsError",
        "`effects` must be one of 'auto', 'integrate', 'recentre',",
    ),
    "effects site": (
        lambda: fit(made(), effects={"v": "centred"}),
        "SettingsError",
        "`effects` names 'v', which is no latent site of the",
    ),
    "dtype": (
        lambda: fit(made(), dtype="float16"),
        "SettingsError",
        "`dtype` must be one of 'float64', 'float32'; got",
    ),
    "seed": (
        lambda: fit(made(), seed=-1),
        "SettingsError",
        "`seed` must be an integer of at least 0; got -1.",
    ),
    "seed float": (
        lambda: fit(made(), seed=1.5),
        "SettingsError",
        "`seed` must be an integer of at least 0; got 1.5.",
    ),
    "chains": (
        lambda: hj.NUTS(chains=0),
        "SettingsError",
        "`chains` must be an integer of at least 1; got 0.",
    ),
    "draws": (
        lambda: hj.NUTS(draws=2.5),
        "SettingsError",
        "`draws` must be an integer of at least 1; got 2.5.",
    ),
    "accept": (
        lambda: hj.NUTS(target_accept=1.0),
        "SettingsError",
        "`target_accept` must lie strictly between 0 and 1; got",
    ),
    "guide": (
        lambda: hj.SVI(guide="flow"),
        "SettingsError",
        "`guide` must be one of 'structured', 'normal', 'lowrank',",
    ),
    "particles": (
        lambda: hj.SVI(particles=3),
        "SettingsError",
        "`particles` come in pairs, so must be even; got 3.",
    ),
    "laplace": (
        lambda: hj.Laplace(points=-1),
        "SettingsError",
        "`points` must be an integer of at least 100; got -1.",
    ),
    "gibbs poisson": (
        lambda: fit(hj.formula("count ~ (1|g)", FRAME, family="poisson"), method="gibbs"),
        "ModelError",
        'method "gibbs" draws group effects from their normal',
    ),
    "integrate poisson": (
        lambda: fit(hj.formula("count ~ (1|g)", FRAME, family="poisson"), effects="integrate"),
        "ModelError",
        "'r_g' cannot be integrated out",
    ),
    "fit without data": (lambda: fit("y ~ x"), "SettingsError", "a formula needs data"),
    "model with option": (
        lambda: fit(made(), family="poisson"),
        "SettingsError",
        "['family'] belong to a formula; this model was made",
    ),
    "unknown option": (
        lambda: hj.fit(made(), warmup=3),
        "SettingsError",
        "`fit` has no option `warmup`. It is a setting of a",
    ),
    "many empty": (
        lambda: hj.fit_many(hj.formula(TEXT, FRAME), [], progress=False),
        "SettingsError",
        "`datasets` is empty: there is nothing to fit.",
    ),
    "many not list": (
        lambda: hj.fit_many(hj.formula(TEXT, FRAME), 3, progress=False),
        "SettingsError",
        "`datasets` must be a list with one data set each, or a",
    ),
    "many unequal": (
        lambda: hj.fit_many(
            made(), {"y": np.zeros((3, 6)), "group": np.zeros((2, 6), int)}, progress=False
        ),
        "SettingsError",
        "`datasets` as a mapping needs arrays stacked along a",
    ),
    "many keep": (
        lambda: hj.fit_many(made(), [DATA], keep="some", progress=False),
        "SettingsError",
        "`keep` must be one of 'all', 'hyper'; got 'some'.",
    ),
    "load missing": (
        lambda: hj.load("/nowhere/x.nc"),
        "FileError",
        "/nowhere/x.nc: there is no such file.",
    ),
    "load csv": (lambda: hj.load(__file__), "FileError", "is not a posterior that hierjax saved"),
    "data set": (
        lambda: hj.load_data("radom"),
        "UnknownDatasetError",
        "There is no data set 'radom'. Did you mean 'radon'?",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_an_error_that_says_what_is_wrong(case):
    call, error, words = BAD[case]
    with pytest.raises(getattr(hj.errors, error)) as raised:
        call()
    assert type(raised.value).__name__ == error
    assert words in str(raised.value)
