"""hierjax: hierarchical Bayesian models in JAX.

Every public name is here; nothing is computed at import, no device is touched, and libraries for
tables, labels and plots load when they are first used.
"""

from importlib.metadata import version as _version

from hierjax import errors, library
from hierjax.batch.result import Batch
from hierjax.compare import compare
from hierjax.datasets import datasets, load_data
from hierjax.fit import fit
from hierjax.fit_many import fit_many
from hierjax.formula import Variance, formula
from hierjax.groups import encode, take
from hierjax.infer.deterministic_advi import DeterministicADVI
from hierjax.infer.empirical_bayes import EmpiricalBayes
from hierjax.infer.gibbs import Gibbs
from hierjax.infer.laplace import Laplace
from hierjax.infer.nuts import NUTS
from hierjax.infer.svi import SVI
from hierjax.maximise import maximise
from hierjax.method_comparison import MethodComparison, compare_methods
from hierjax.model import Model
from hierjax.posterior import Posterior, load
from hierjax.predict import prior_predict
from hierjax.predict_result import Prediction
from hierjax.sampler import sampler
from hierjax.sbc import sbc
from hierjax.sbc_result import Calibration
from hierjax.transforms.integrate import integrate, recover
from hierjax.transforms.log_marginal import log_marginal
from hierjax.transforms.recentre import recentre

__version__ = _version("hierjax")

__all__ = [
    "NUTS",
    "SVI",
    "Batch",
    "Calibration",
    "DeterministicADVI",
    "EmpiricalBayes",
    "Gibbs",
    "Laplace",
    "MethodComparison",
    "Model",
    "Posterior",
    "Prediction",
    "Variance",
    "compare",
    "compare_methods",
    "datasets",
    "encode",
    "errors",
    "fit",
    "fit_many",
    "formula",
    "integrate",
    "library",
    "load",
    "load_data",
    "log_marginal",
    "maximise",
    "prior_predict",
    "recentre",
    "recover",
    "sampler",
    "sbc",
    "take",
]
