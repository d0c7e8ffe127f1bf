"""Without groups and with flat priors the mode is the maximum likelihood of other software.

Values are those of statsmodels 0.15.0 on the packaged data (GLM with Gamma and log link, BetaModel,
ZeroInflatedPoisson, OrderedModel, MNLogit), and of SciPy's fit to censored data.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpyro.distributions.transforms import biject_to
from numpyro.infer.util import log_density
from scipy import optimize, stats

import hierjax as hj
from hierjax.arguments import Arguments
from hierjax.trace import abstract_trace

pytestmark = pytest.mark.slow
FLAT = dist.HalfNormal(1e6)
WIDE = dist.Normal(0.0, 1e6)


def schools():
    frame = hj.load_data("california_schools").query("random == 1")
    return frame.assign(share=(frame.meals / 100 * (len(frame) - 1) + 0.5) / len(frame))


def answers():
    frame = hj.load_data("verbagg")
    order = ["no", "perhaps", "yes"]
    wants = (frame["mode"] == "want").astype(float)
    return frame.assign(resp=pd.Categorical(frame.resp, order, ordered=True), wants=wants)


def brands():
    frame = hj.load_data("margarine")
    return frame[frame.choice.isin(["Pk_Stk", "BB_Stk", "Fl_Stk", "Hse_Stk"])]


def scores():
    frame = hj.load_data("chem97")
    side = np.select([frame.score == 0, frame.score == 10], ["left", "right"], "none")
    return frame.assign(side=side)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its data, and where its likelihood is largest."""

    text: str
    family: str
    frame: Callable[[], pd.DataFrame]
    priors: dict[str, Any]
    wanted: Callable[[pd.DataFrame], dict[str, Any]]


def fixed(**values):
    return lambda frame: values


def log_normal(frame):
    X = np.column_stack([np.ones(len(frame)), frame.Days])
    (start, slope), rest, *_ = np.linalg.lstsq(X, np.log(frame.Reaction))
    return {"b_Intercept": start, "b_Days": slope, "sigma": np.sqrt(rest[0] / len(frame))}


def tobit(frame):
    score = frame.score.to_numpy(float)
    data = stats.CensoredData(
        uncensored=score[frame.side == "none"], left=score[frame.side == "left"],
        right=score[frame.side == "right"],
    )  # fmt: skip
    mean, sd = stats.norm.fit(data)
    return {"b_Intercept": mean, "sigma": sd}


CASES = {
    "gamma": Case(
        "Reaction ~ Days", "gamma", lambda: hj.load_data("sleepstudy"), {"shape": FLAT},
        fixed(b_Intercept=5.536132612033944, b_Days=0.035020637501570445),
    ),
    "lognormal": Case(
        "Reaction ~ Days", "lognormal", lambda: hj.load_data("sleepstudy"), {"sigma": FLAT},
        log_normal,
    ),
    "beta": Case("share ~ type", "beta", schools, {"phi": FLAT},
        fixed(
            b_Intercept=0.20280057375246913, phi=1.7841107965774041,
            b_type=[-0.598921232511756, -0.5677722451569082],
        ),
    ),
    "zero_inflated_poisson": Case(
        "count ~ mined", "zip", lambda: hj.load_data("salamanders"), {},
        fixed(b_Intercept=1.2735682614303372, b_mined=[-1.8777223718208809], zi=0.4107846460263753),
    ),
    "censored": Case("score | cens(side) ~ 1", "gaussian", scores, {"sigma": FLAT}, tobit),
    "ordered": Case("resp ~ Anger + wants", "ordered", answers, {"threshold": WIDE},
        fixed(
            b_Anger=0.04904053353027308, b_wants=0.4527922234772972,
            threshold=[1.2981365445631563, 2.60699337116833],
        ),
    ),
    "categorical": Case("choice ~ I(Income / 10) + Fam_Size", "categorical", brands, {},
        fixed(
            **{
                "b_Fl_Stk_Intercept": -0.26764045112722845,
                "b_Hse_Stk_Intercept": -0.908207984790171,
                "b_Pk_Stk_Intercept": 0.7514025638600926,
                "b_Fl_Stk_I(Income / 10)": 0.26428674210251646,
                "b_Hse_Stk_Fam_Size": 0.2040583724870199,
                "b_Pk_Stk_Fam_Size": 0.0377427585568105,
            }
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_mode_is_the_maximum_of_the_likelihood(name):
    case = CASES[name]
    frame = case.frame()
    wide = {"b_Intercept": WIDE} if case.family != "ordered" else {}
    wide |= {} if case.text.endswith("~ 1") else {"b": WIDE}
    model = hj.formula(case.text, frame, case.family, priors=wide | case.priors)
    found = mode(model)
    for site, value in case.wanted(frame).items():
        np.testing.assert_allclose(found[site], value, rtol=2e-5, atol=2e-6, err_msg=site)


def mode(model):
    """Values of the sites at the largest log density, without the Jacobian of any transform."""
    arguments = Arguments.of(model.data)
    sites = [s for s in abstract_trace(model.fn, model.data).sites.values() if s.kind == "latent"]
    with jax.enable_x64(True):
        transforms = {site.name: biject_to(site.support) for site in sites}
        start = {
            site.name: np.zeros(transforms[site.name].inverse_shape(site.shape)) for site in sites
        }
        flat, unravel = jax.flatten_util.ravel_pytree(start)
        arrays = arguments.arrays(model.data)

        def place(vector):
            return {name: transforms[name](value) for name, value in unravel(vector).items()}

        def loss(vector):
            return -log_density(model.fn, (), arguments.rebuild(arrays), place(vector))[0]

        both = jax.jit(jax.value_and_grad(loss))
        options = {"gtol": 1e-7, "maxiter": 2000}
        best = optimize.minimize(
            lambda v: tuple(map(np.asarray, both(v))), np.asarray(flat), jac=True, options=options
        )
        return {name: np.asarray(value) for name, value in place(best.x).items()}
