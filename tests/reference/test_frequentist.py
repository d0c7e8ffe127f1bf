"""Maximum likelihood and REML against frequentist.json: lme4 with its optimiser as it is, metafor.

lme4 stopped a little before the maximum, so that what it found is compared less closely than in
tests/infer/test_lme4.py, and its log-likelihood may be less than ours. Standard errors of `glmer`
are those of the observed information here, as ours are, by finite differences; in lme4.json they
are those of the joint approximation, so the two files differ in them. Two differences are of
definition: metafor's REML log-likelihood has half the log determinant of X'X, lme4's has not; and
log-likelihoods with nAGQ > 1 lack that of the saturated model.
"""

import numpy as np
import pytest

from tests.infer.lme4_fits import answer, deviations
from tests.infer.test_lme4 import saturated
from tests.reference.frequentist import FITTED, REPEATED, entry_of, in_words_of_lme4

CLOSE = 1e-3  # relative, of sds; and in standard errors, of fixed effects
FINITE_DIFFERENCES = 2e-2  # relative, of standard errors
OPTIMISERS = 2e-3  # what two optimisers may differ by; `glmer` stops earlier than `lmer`


@pytest.mark.parametrize("name", REPEATED)
def test_fits_that_are_in_lme4_json_too_are_those(name):
    ours, theirs = in_words_of_lme4(name), answer(*REPEATED[name])
    assert ours["loglik"] == pytest.approx(theirs["loglik"], abs=5e-4)
    for part in ("fixef", "sdcor") if REPEATED[name][1] == "nAGQ1" else ("fixef", "se", "sdcor"):
        here, there = (sorted(each[part].values()) for each in (ours, theirs))
        assert here == pytest.approx(there, rel=OPTIMISERS), part


@pytest.mark.slow
@pytest.mark.parametrize("name", FITTED)
def test_estimates_are_those_of_lme4_and_metafor(name):
    row, expected = FITTED[name], in_words_of_lme4(name)
    posterior = row.fitted()
    assert posterior.info.status == (0,)
    expected["loglik"] -= constant_of_metafor(name)
    if row.kind == 25:
        expected["loglik"] += saturated(row.frame)
    zero = [scale for scale, value in expected["sdcor"].items() if value == 0.0]
    if zero:
        assert zero == ["school|(Intercept)|"]
        assert float(posterior.info.estimates["sd_school"][0]) == 0.0
        expected["sdcor"] = {}
    far = deviations(posterior, expected)
    print(name, far)
    generalised = isinstance(row.kind, int)
    assert -1e-5 < far["log_likelihood"] < (5e-4 if generalised else 1e-4)
    assert far["fixef"] < (OPTIMISERS if generalised else CLOSE)
    assert far["sdcor"] < CLOSE
    assert far["se"] < (FINITE_DIFFERENCES if generalised else CLOSE)


def constant_of_metafor(name):
    """Half of log|X'X|, which metafor adds to a restricted log-likelihood."""
    entry = entry_of(name)
    if not entry["engine"].startswith("metafor"):
        return 0.0
    frame = FITTED[name].frame
    columns = [np.ones(len(frame)), *([frame["ablat"]] if "ablat" in entry["fixed"] else [])]
    x = np.column_stack(columns)
    return 0.5 * np.linalg.slogdet(x.T @ x)[1]
