"""lme4 and glmmTMB by Rscript: estimates, not posteriors, and labelled so."""

import dataclasses
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hierjax.bench.problems import MixedModel, Problem, Schools
from hierjax.bench.tools.base import (
    Answer,
    NotExpressibleError,
    NotInstalledError,
    Run,
    Settings,
)

if TYPE_CHECKING:
    import pandas as pd

INSTALL = {
    "lme4": "apt install r-base-core r-cran-lme4",
    "glmmTMB": "apt install r-base-core r-cran-glmmtmb",
}
FITS = {
    ("lme4", "gaussian"): "lmer({formula}, data)",
    ("lme4", "other"): "glmer({formula}, data, family = {family})",
    ("glmmTMB", "gaussian"): "glmmTMB({formula}, data, REML = TRUE)",
    ("glmmTMB", "other"): "glmmTMB({formula}, data, family = {family})",
}
PARTS = {
    "lme4": ("fixef(fit)", "VarCorr(fit)", "ranef(fit, condVar = FALSE)"),
    "glmmTMB": ("fixef(fit)$cond", "VarCorr(fit)$cond", "ranef(fit, condVar = FALSE)$cond"),
}
SCRIPT = """
suppressMessages(library({package}))
data <- read.csv("{csv}", colClasses = c({classes}))
for (name in names(data)) if (is.character(data[[name]]))
  data[[name]] <- factor(data[[name]], sort(unique(data[[name]]), method = "radix"))
seconds <- system.time(fit <- {fit})
say <- function(site, values) cat(site, format(as.numeric(values), digits = 12), "\\n")
say("seconds", seconds[["elapsed"]])
say("b", {fixed})
for (name in c({factors})) {{
  block <- {scales}[[name]]
  say(paste0("sd_", name), attr(block, "stddev"))
  say(paste0("cor_", name), attr(block, "correlation"))
  say(paste0("r_", name), t(as.matrix({effects}[[name]])))
}}
say("sigma", sigma(fit))
"""


@dataclasses.dataclass(frozen=True)
class RPackage:
    """A mixed-model package of R: REML for a normal response, maximum likelihood otherwise."""

    package: str
    imports: tuple[str, ...] = ()
    compiles_in_run: bool = False

    def versions(self) -> dict[str, str]:
        """Return the versions of R and of the package."""
        if shutil.which("Rscript") is None:
            raise NotInstalledError(INSTALL[self.package])
        ask = f'cat(as.character(getRversion()), as.character(packageVersion("{self.package}")))'
        done = subprocess.run(["Rscript", "-e", ask], capture_output=True, text=True)
        if done.returncode:
            raise NotInstalledError(INSTALL[self.package])
        language, package = done.stdout.split()
        return {"R": language, self.package: package}

    def prepare(self, problem: Problem, table: "pd.DataFrame", settings: Settings) -> Run:
        """Return the run, which starts R, reads the table and fits."""
        if isinstance(problem, Schools):
            raise NotExpressibleError("no known standard errors of a normal response")

        def run(table: "pd.DataFrame", seed: int) -> Answer:
            with tempfile.TemporaryDirectory() as folder:
                found = self._estimates(problem, table, Path(folder))
            seconds = found.pop("seconds")
            return Answer(
                _named(problem, table, found),
                estimate=True,
                note=f"fitting itself {seconds[0]:.2f} s; the rest is R and its packages",
            )

        return run

    def _estimates(
        self, problem: MixedModel, table: "pd.DataFrame", folder: Path
    ) -> dict[str, np.ndarray]:
        """Fit in R; site -> numbers."""
        csv, script = folder / "data.csv", folder / "fit.R"
        table.to_csv(csv, index=False)
        script.write_text(self._script(problem, table, csv))
        done = subprocess.run(["Rscript", str(script)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
        return {site: np.array(values, float) for site, *values in lines}

    def _script(self, problem: MixedModel, table: "pd.DataFrame", csv: Path) -> str:
        formula = problem.formula
        if problem.trials:
            right = formula.split("~")[1]
            success, trials = problem.response, problem.trials
            formula = f"cbind({success}, {trials} - {success}) ~{right}"
        kind = "gaussian" if problem.family == "gaussian" else "other"
        fixed, scales, effects = PARTS[self.package]
        classes = [
            f'{name} = "{"numeric" if table[name].dtype.kind in "iuf" else "character"}"'
            for name in table.columns
        ]
        return SCRIPT.format(
            package=self.package,
            csv=csv,
            classes=", ".join(classes),
            fit=FITS[self.package, kind].format(formula=formula, family=problem.family),
            factors=", ".join(f'"{factor.name}"' for factor in problem.factors),
            fixed=fixed,
            scales=scales,
            effects=effects,
        )


def _named(
    problem: MixedModel, table: "pd.DataFrame", found: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return one draw of one chain of each site."""
    sites = problem.named_coefficients(table, found["b"])
    for factor in problem.factors:
        sd, effects = found[f"sd_{factor.name}"], found[f"r_{factor.name}"]
        if factor.slope:
            sites[f"cor_{factor.name}"] = found[f"cor_{factor.name}"].reshape(2, 2)
            effects = effects.reshape(-1, 2)
        sites[f"sd_{factor.name}"] = sd if factor.slope else sd[0]
        sites[f"r_{factor.name}"] = effects
    if problem.family == "gaussian":
        sites["sigma"] = found["sigma"][0]
    return {site: np.asarray(value)[None, None] for site, value in sites.items()}
