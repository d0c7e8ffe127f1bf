"""The tools that are compared, by name; one module for each, with the same three functions."""

from hierjax.bench.tools.base import Tool
from hierjax.bench.tools.with_bambi import Bambi
from hierjax.bench.tools.with_blackjax import Blackjax
from hierjax.bench.tools.with_hierjax import Hierjax
from hierjax.bench.tools.with_numpyro import NumPyro
from hierjax.bench.tools.with_pymc import PyMC
from hierjax.bench.tools.with_r import RPackage
from hierjax.bench.tools.with_stan import Stan

CORE = ("hierjax", "hierjax nuts", "numpyro centred", "numpyro non-centred")

TOOLS: dict[str, Tool] = {
    "hierjax": Hierjax("auto"),
    "hierjax nuts": Hierjax("nuts"),
    "numpyro centred": NumPyro(centred=True),
    "numpyro non-centred": NumPyro(centred=False),
    "blackjax centred": Blackjax(centred=True),
    "blackjax non-centred": Blackjax(centred=False),
    "stan centred": Stan(centred=True),
    "stan non-centred": Stan(centred=False),
    "pymc centred": PyMC("pymc", centred=True),
    "pymc non-centred": PyMC("pymc", centred=False),
    "nutpie centred": PyMC("nutpie", centred=True),
    "nutpie non-centred": PyMC("nutpie", centred=False),
    "bambi": Bambi(),
    "hierjax estimate": Hierjax("empirical_bayes"),
    "lme4": RPackage("lme4"),
    "glmmTMB": RPackage("glmmTMB"),
}
