"""The lme4/brms formula language: a formula and a data frame become a `hierjax.Model`."""

from hierjax.formula.build import formula, rebuild
from hierjax.formula.origin import FormulaOrigin
from hierjax.formula.priors import Variance

__all__ = ["FormulaOrigin", "Variance", "formula", "rebuild"]
