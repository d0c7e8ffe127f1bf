"""The table of benchmark problems: real data, one set of priors, one list of parameters.

Every tool is given the same data and the same priors, stated here as numbers and nowhere else, and
hands back draws under the same names (those of hierjax).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from hierjax.model import Model


@dataclasses.dataclass(frozen=True)
class Priors:
    """The numbers of the priors.

    Attributes
    ----------
    intercept
        Mean and standard deviation of its normal prior.
    slopes
        Standard deviation of the normal prior at zero of each other coefficient.
    sd
        Scale of the half-normal prior of each standard deviation of effects.
    sigma
        Scale of the half-normal prior of the residual standard deviation, if there is one.
    concentration
        Of the LKJ prior of a correlation of intercepts and slopes.
    """

    intercept: tuple[float, float]
    slopes: float
    sd: float
    sigma: float = 1.0
    concentration: float = 2.0


@dataclasses.dataclass(frozen=True)
class Factor:
    """A grouping factor whose intercepts vary and, where a `slope` is named, that slope too."""

    name: str
    slope: str = ""


@dataclasses.dataclass(frozen=True)
class MixedModel:
    """A regression with normal group effects.

    Attributes
    ----------
    formula, family
        The model in hierjax's words; "gaussian", "binomial" (logit) or "poisson" (log).
    data
        A packaged data set.
    response, trials, coefficients, factors
        Columns that the model uses. A column of labels has treatment coding.
    priors
        Their numbers.
    new_columns
        Name -> function of the table, of columns that the data set does not have.
    """

    formula: str
    data: str
    response: str
    coefficients: tuple[str, ...]
    factors: tuple[Factor, ...]
    priors: Priors
    family: str = "gaussian"
    trials: str = ""
    new_columns: Mapping[str, "Callable[[pd.DataFrame], Any]"] = dataclasses.field(
        default_factory=dict, hash=False
    )

    @property
    def parameters(self) -> tuple[str, ...]:
        """Sites that are compared, named as hierjax does."""
        names = ["b_Intercept", *(f"b_{name}" for name in self.coefficients)]
        for factor in self.factors:
            kinds = ("sd", "cor", "r") if factor.slope else ("sd", "r")
            names += [f"{kind}_{factor.name}" for kind in kinds]
        return (*names, "sigma") if self.family == "gaussian" else tuple(names)

    def table(self, *, new: bool = False) -> "pd.DataFrame":
        """Load the data; `new` data of the same shape have a little noise in the response."""
        from hierjax.datasets import load_data

        table = load_data(self.data)
        table = table.assign(**{name: of(table) for name, of in self.new_columns.items()})
        return _changed(table, self.response) if new else table

    def model(self, table: "pd.DataFrame") -> "Model":
        """Return the hierjax model."""
        from numpyro import distributions as dist

        import hierjax

        numbers = self.priors
        priors: dict[str, Any] = {
            "b_Intercept": dist.Normal(*numbers.intercept),
            "sd": dist.HalfNormal(numbers.sd),
        }
        if self.coefficients:
            priors["b"] = dist.Normal(0.0, numbers.slopes)
        if any(factor.slope for factor in self.factors):
            priors["cor"] = numbers.concentration
        if self.family == "gaussian":
            priors["sigma"] = dist.HalfNormal(numbers.sigma)
        return hierjax.formula(self.formula, table, family=self.family, priors=priors)

    def design(self, table: "pd.DataFrame") -> dict[str, np.ndarray]:
        """Columns of each coefficient: site -> (rows,), or (rows, levels - 1) of labels."""
        columns = {"b_Intercept": np.ones(len(table))}
        for name in self.coefficients:
            values = table[name].to_numpy()
            if values.dtype.kind not in "iuf":
                levels = np.unique(values.astype(str))
                values = np.equal(values.astype(str)[:, None], levels[1:])
            columns[f"b_{name}"] = values.astype(float)
        return columns

    def arguments(self, table: "pd.DataFrame") -> dict[str, Any]:
        """Return the arrays that a model written by hand takes.

        Returns
        -------
        dict
            `y` (rows,), `design` (rows, coefficients), `groups` (index of each row, one array a
            factor), `slopes` (the covariate of each factor, or None), `trials` (rows,) or None.
        """
        wide = [column.reshape(len(table), -1) for column in self.design(table).values()]
        kind = float if self.family == "gaussian" else int
        return {
            "y": table[self.response].to_numpy(kind),
            "design": np.hstack(wide),
            "groups": tuple(self.index(table, factor) for factor in self.factors),
            "slopes": tuple(
                table[factor.slope].to_numpy(float) if factor.slope else None
                for factor in self.factors
            ),
            "trials": table[self.trials].to_numpy(int) if self.trials else None,
        }

    def index(self, table: "pd.DataFrame", factor: Factor) -> np.ndarray:
        """Return the number of the group of each row, groups in the order of their labels."""
        return np.unique(table[factor.name].astype(str), return_inverse=True)[1]

    def sizes(self, table: "pd.DataFrame") -> tuple[int, ...]:
        """Return how many groups each factor has."""
        return tuple(int(self.index(table, factor).max()) + 1 for factor in self.factors)

    def widths(self, table: "pd.DataFrame") -> dict[str, int | None]:
        """Length of each coefficient site; None for a single number."""
        return {
            site: column.shape[1] if column.ndim == 2 else None
            for site, column in self.design(table).items()
        }

    def coefficient_priors(self, table: "pd.DataFrame") -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of the normal priors, in the order of the design."""
        count = self.arguments(table)["design"].shape[1]
        means, sds = np.zeros(count), np.full(count, self.priors.slopes)
        means[0], sds[0] = self.priors.intercept
        return means, sds

    def named_coefficients(self, table: "pd.DataFrame", b: np.ndarray) -> dict[str, np.ndarray]:
        """Divide draws of all coefficients (..., coefficients) among their sites."""
        found, start = {}, 0
        for site, width in self.widths(table).items():
            stop = start + (width or 1)
            found[site] = b[..., start] if width is None else b[..., start:stop]
            start = stop
        return found

    def function(self, table: "pd.DataFrame", centred: bool) -> Callable[..., None]:
        """Return the NumPyro function written by hand."""
        from hierjax.bench.by_hand import mixed_model

        return mixed_model(
            family=self.family,
            priors=self.priors,
            widths=self.widths(table),
            factors=tuple((each.name, bool(each.slope)) for each in self.factors),
            sizes=self.sizes(table),
            centred=centred,
        )


@dataclasses.dataclass(frozen=True)
class Schools:
    """Estimates with known standard errors: mu ~ N(0, mu_sd^2), tau ~ half-Cauchy(tau_scale)."""

    data: str = "eight_schools"
    response: str = "y"
    parameters: tuple[str, ...] = ("mu", "tau", "theta")
    mu_sd: float = 5.0
    tau_scale: float = 5.0

    def table(self, *, new: bool = False) -> "pd.DataFrame":
        """Load the data; `new` data of the same shape have a little noise in the response."""
        from hierjax.datasets import load_data

        table = load_data(self.data)
        return _changed(table, self.response) if new else table

    def model(self, table: "pd.DataFrame") -> "Model":
        """Return the hierjax model."""
        from hierjax import library

        return library.eight_schools(
            table["y"], table["sigma"], mu_sd=self.mu_sd, tau_scale=self.tau_scale
        )

    def arguments(self, table: "pd.DataFrame") -> dict[str, Any]:
        """Return the arrays that a model written by hand takes."""
        return {name: table[name].to_numpy(float) for name in ("y", "sigma")}

    def function(self, table: "pd.DataFrame", centred: bool) -> Callable[..., None]:
        """Return the NumPyro function written by hand."""
        from hierjax.bench.by_hand import schools

        return schools(self.mu_sd, self.tau_scale, len(table), centred)


Problem = MixedModel | Schools


def _changed(table: "pd.DataFrame", response: str) -> "pd.DataFrame":
    values = table[response].astype(float)
    noise = np.random.default_rng(1).normal(size=len(table))
    return table.assign(**{response: values + 0.1 * values.std() * noise})


def _height(table: "pd.DataFrame") -> Any:
    """Heights in standard deviations."""
    return table["cHEIGHT"] / table["cHEIGHT"].std()


_LINK_SCALE = Priors(intercept=(0.0, 2.5), slopes=2.5, sd=1.0)

PROBLEMS: dict[str, Problem] = {
    "eight_schools": Schools(),
    "sleepstudy": MixedModel(
        formula="Reaction ~ Days + (1 + Days | Subject)",
        data="sleepstudy",
        response="Reaction",
        coefficients=("Days",),
        factors=(Factor("Subject", "Days"),),
        priors=Priors(intercept=(250.0, 100.0), slopes=20.0, sd=50.0, sigma=50.0),
    ),
    "radon": MixedModel(
        formula="log_radon ~ floor + log_uranium + (1 + floor | county)",
        data="radon",
        response="log_radon",
        coefficients=("floor", "log_uranium"),
        factors=(Factor("county", "floor"),),
        priors=Priors(intercept=(1.0, 2.5), slopes=2.5, sd=1.0),
    ),
    "penicillin": MixedModel(
        formula="diameter ~ (1 | plate) + (1 | sample)",
        data="penicillin",
        response="diameter",
        coefficients=(),
        factors=(Factor("plate"), Factor("sample")),
        priors=Priors(intercept=(20.0, 10.0), slopes=1.0, sd=2.5, sigma=2.5),
    ),
    "cbpp": MixedModel(
        formula="incidence / size ~ period + (1 | herd)",
        data="cbpp",
        response="incidence",
        coefficients=("period",),
        factors=(Factor("herd"),),
        priors=_LINK_SCALE,
        family="binomial",
        trials="size",
    ),
    "broods": MixedModel(
        formula="TICKS ~ YEAR + height + (1 | BROOD)",
        data="grouseticks",
        response="TICKS",
        coefficients=("YEAR", "height"),
        factors=(Factor("BROOD"),),
        priors=_LINK_SCALE,
        family="poisson",
        new_columns={"height": _height},
    ),
    "grouseticks": MixedModel(
        formula="TICKS ~ YEAR + height + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        data="grouseticks",
        response="TICKS",
        coefficients=("YEAR", "height"),
        factors=(Factor("BROOD"), Factor("INDEX"), Factor("LOCATION")),
        priors=_LINK_SCALE,
        family="poisson",
        new_columns={"height": _height},
    ),
}
