"""Posterior: a model with its draws; each method is one call into the layer below."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hierjax import store
from hierjax.draws import FitInfo
from hierjax.export import to_datatree
from hierjax.loo import Loo, loo
from hierjax.model import Model
from hierjax.plots import plot
from hierjax.pooling import shrinkage_table
from hierjax.pooling_variance import Shares, r2, variance_partition
from hierjax.predict import predict
from hierjax.predict_result import Prediction
from hierjax.report import report_text
from hierjax.report_page import write_page
from hierjax.sensitivity import Sensitivity, sensitivity
from hierjax.summary import Diagnostics, diagnose, summary_table
from hierjax.summary_point import log_likelihood

if TYPE_CHECKING:
    import pandas as pd
    import xarray
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior:
    """Labelled posterior of a model.

    Attributes
    ----------
    model
        The model that was fitted, with its data.
    draws
        Site name -> array of shape (chain, draw, *site shape), in the constrained space.
    stats
        Sampler statistic -> array of shape (chain, draw): "diverging", "num_steps", ...
    info
        Method, settings, seed, precision, seconds, status of each chain.
    """

    model: Model
    draws: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    info: FitInfo

    def summary(self, *, effects: bool = False) -> "pd.DataFrame":
        """Means, sds, quantiles, errors, ESS and R-hat in blocks: level sds, coefficients, other.

        A method that estimates a point has estimates, standard errors and conditional quantiles.

        Parameters
        ----------
        effects
            Add a block with the effect of every group.
        """
        return summary_table(
            self.model, self.draws, effects=effects, info=self.info, stats=self.stats
        )

    def diagnostics(self) -> Diagnostics:
        """R-hat, ESS, divergences, E-BFMI, tree depth or k-hat, with one verdict and its remedy."""
        return diagnose(self.model, self.draws, self.stats, self.info)

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood at the estimates of a point method, group effects integrated out.

        Raises
        ------
        SettingsError
            The method sampled a posterior, and has no estimates.
        """
        return log_likelihood(self.info)

    def report(self, path: str | Path | None = None) -> str:
        """Return summary, how the model was fitted, and the verdict, as text for a terminal.

        Parameters
        ----------
        path
            Write all that and the priors, levels and plots as a page for a browser, too: one HTML
            file that fetches nothing.

        Raises
        ------
        FileError
            The file cannot be written; an older one is as it was.
        """
        if path is not None:
            write_page(path, self.model, self.draws, self.stats, self.info)
        return report_text(self.model, self.draws, self.stats, self.info)

    def predict(
        self,
        new: Any = None,
        *,
        groups: str = "sample",
        kind: str = "mean",
        seed: int = 0,
        most_draws: int | None = None,
        site: str | None = None,
        all_new: Sequence[str] | str = (),
        **arrays: Any,
    ) -> Prediction:
        """Predict the response of rows of known, new and unknown groups, at every draw.

        For a group that the fit has seen, with the draws of its effects. For a new one, with
        effects drawn from the distribution of the effects given the hyperparameters of each draw,
        independently for every new group and draw, all effects of a group together. A new child of
        a known parent has the parent's effects and new ones of its own.

        Parameters
        ----------
        new
            Rows to predict for; by default those of the fit. For a formula a data frame or mapping
            of columns, without the response. For a NumPyro function a mapping of its arguments:
            arrays must be given, except the response; unit k of a plate is unit k of the fit, and
            units after those of the fit are new.
        groups
            "sample" as above; a label that is missing (None or NaN) means an average of the
            predictions over the groups of the fit that the row may belong to, each counting the
            same. "population": effects of new and missing groups are at their mean, zero for a
            formula (`allow.new.levels=TRUE` of lme4). "error": neither is allowed.
        kind
            "mean": the expected response, the inverse link of the linear predictor (brms's
            `posterior_epred`). "draw": new observations (`posterior_predict`).
        seed
            The same seed, rows and draws give the same predictions.
        most_draws
            Use at most so many draws, evenly spaced.
        site
            The response, if the model has several.
        all_new
            Plates none of whose units is one of the fit, such as rows with effects of their own.
        **arrays
            New values of `trials`, `weights`, `offset` or `known_sd`, if a formula was given
            arrays.

        Returns
        -------
        Prediction
            `values` (chain, draw, row), `summary()` with one line a row, `to_xarray()`.

        Raises
        ------
        DataError
            The new data lack a column, or hold what the model cannot use (one subclass for each
            reason); groups are new and `groups="error"`.
        ModelError
            The response has no mean, or plates of the model do not grow as its groups do.

        References
        ----------
        Gelman and Hill (2007), Data Analysis Using Regression and Multilevel/Hierarchical Models,
        section 12.8.
        """
        return predict(
            self.model, self.draws, self.info, new, groups=groups, kind=kind, seed=seed,
            most_draws=most_draws, site=site, all_new=all_new, **arrays,
        )  # fmt: skip

    def shrinkage(self, group: str | None = None) -> "pd.DataFrame":
        """How far each group is pooled: what it says alone, the model's answer, the population's.

        Means of the response over the rows of each group: observed (no pooling), expected by the
        model (partial pooling), and expected of a group about which nothing is known (complete
        pooling). The pooling factor of an effect is its posterior variance in units of its prior
        variance, Var((u - m) / s | data), where m and s are mean and sd of its prior at each draw.
        Near 0 the group's own data decide, near 1 the population does.

        Parameters
        ----------
        group
            The grouping; by default the first that an index array gives.

        Returns
        -------
        pandas.DataFrame
            Index: labels of the groups that have rows. Columns `rows, no_pooling, partial_pooling,
            complete_pooling` and `pooling of <effect>` for each effect.

        Raises
        ------
        ModelError
            The model does not show which group each observed value belongs to.
        SettingsError
            `group` is not a grouping of the model.

        References
        ----------
        Gelman and Pardoe (2006), doi:10.1198/004017005000000517, for factors of a whole level.
        """
        return shrinkage_table(self.model, self.draws, self.info, group)

    def variance_partition(self) -> Shares:
        """Share of each grouping factor in the variance that population effects leave.

        For one factor with an intercept that is the intraclass correlation s^2 / (s^2 + sigma^2).
        With slopes the variance of a factor is averaged over the rows (Johnson 2014). Families with
        a link are treated on its latent scale: the residual variance is pi^2 / 3 for a logit, and
        log(1 + 1/rate [+ 1/shape]) for counts (Nakagawa, Johnson and Schielzeth 2017).

        Returns
        -------
        Shares
            `shares` and `variances` at every draw, `summary()`; printing it names the scale.

        Raises
        ------
        ModelError
            The model is not a formula.
        """
        return variance_partition(self.model, self.draws)

    def r2(self) -> Shares:
        """R squared: the share of population effects (marginal), and with groups (conditional).

        Variances as in `variance_partition`; that of population effects is over the rows.

        Returns
        -------
        Shares
            Of "marginal", "conditional", and each grouping factor's part of the latter.

        Raises
        ------
        ModelError
            The model is not a formula.
        """
        return r2(self.model, self.draws)

    def loo(
        self, by: str | None = None, *, site: str | None = None, most_draws: int | None = None
    ) -> Loo:
        """Leave-one-out cross-validation by Pareto smoothed importance sampling.

        Without `by`, one observation at a time is left out, and predicted *given the effects of
        its groups*: how well are further observations of known groups predicted? With `by`, all
        observations of a group are left out together and its effects are integrated out: how well
        is a new group predicted? Effects of other factors stay as they are. The integral is taken
        by adaptive quadrature, which is exact for a Gaussian response.

        Parameters
        ----------
        by
            Grouping whose groups are left out.
        site
            The response, if the model has several and `by` is not given.
        most_draws
            Use at most so many draws, evenly spaced.

        Returns
        -------
        Loo
            `elpd`, `se`, `table()` with one row for each left out; printing it says which kind it
            is, and which estimates cannot be trusted.

        Raises
        ------
        ModelError
            Effects of the groups cannot be integrated out, or there are no draws of them.
        SettingsError
            `by` is not a grouping of the model; the method estimates a point.

        References
        ----------
        Vehtari, Gelman and Gabry (2017), doi:10.1007/s11222-016-9696-4. Merkle, Furr and
        Rabe-Hesketh (2019), doi:10.1007/s11336-019-09679-0.
        """
        return loo(
            self.model, self.draws, self.stats, self.info, by, site=site, most_draws=most_draws
        )

    def sensitivity(self, *, effects: bool = False) -> Sensitivity:
        """How much each parameter depends on each prior, without fitting again.

        Power-scaling: draws are weighted by density^(alpha - 1) of a prior, or of the likelihood,
        with Pareto smoothing, and the distribution of each parameter before and after is compared
        (cumulative Jensen-Shannon distance). Derivatives of posterior means in the numbers lambda
        of a prior come from an identity, d E[f] / d lambda = Cov(f, d log p(theta; lambda) /
        d lambda). Priors are those of all latent sites that are not effects of groups; the density
        of effects given their sds is not among them.

        Parameters
        ----------
        effects
            Also how much the effect of every group depends on the priors.

        Returns
        -------
        Sensitivity
            `table` and `derivatives`; printing it says which priors matter, and what to do.

        Raises
        ------
        SettingsError
            The method estimates a point, or there are too few draws.
        ModelError
            The model has no priors, or there are no draws of some sites.

        References
        ----------
        Kallioinen, Paananen, Bürkner and Vehtari (2024), doi:10.1007/s11222-023-10366-5.
        """
        return sensitivity(self.model, self.draws, self.stats, self.info, effects=effects)

    def to_arviz(self) -> "xarray.DataTree":
        """Return draws, statistics and data as the DataTree that ArviZ works with."""
        return to_datatree(self.model, self.draws, self.stats, self.info)

    def save(self, path: str | Path) -> Path:
        """Write everything to one NetCDF file, atomically; `hierjax.load` reads it back."""
        return store.save(path, self.model, self.draws, self.stats, self.info)

    def plot(self, kind: str, path: str | Path | None = None, **options: Any) -> "Figure":
        """Draw the plot `kind`, and write a PNG too if `path` is given.

        "trace" and "rank" show whether chains agree, "pair" how parameters go together and where
        trajectories diverged; "forest", "shrinkage" and "levels" show effects, pooling and model;
        "ppc" compares the data with replicated ones, also by group; "pit" shows the calibration of
        left-out predictions. Options are those of the plot, such as `sites`, `site` or `group`.
        """
        return plot(kind, self.model, self.draws, self.stats, path=path, info=self.info, **options)

    def __repr__(self) -> str:
        shape = next(iter(self.draws.values())).shape[:2]
        noun = "chain" if shape[0] == 1 else "chains"
        return (
            f"Posterior({self.model.name}: {len(self.draws)} sites, {shape[0]} {noun} x "
            f"{shape[1]} draws, {self.info.method})"
        )


def load(path: str | Path, model: Model | None = None) -> Posterior:
    """Read a posterior that `Posterior.save` wrote, and prove that it belongs to the model.

    Parameters
    ----------
    path
        The file.
    model
        The model that was fitted; not needed for formula models, which the file contains.

    Raises
    ------
    FileError
        The file is damaged, of another format, or its log densities do not match the model's.
    """
    return Posterior(*store.load(path, model))
