"""Gaussian effects of a model function: what they are, how they enter, what they share rows with.

The conditional-Gaussian core works on arrays. This package finds the arrays in any NumPyro
function: the sites that are Gaussian given the rest (`gaussian_sites`), the model as a function of
their deviations (`place`), its linear predictors, and which predictor depends on which group
(`Design`).
"""

from hierjax.effects.design import Design, Layout, Reading, lay_out, read_sites
from hierjax.effects.gaussian import EffectSite, Gaussian, gaussian_sites
from hierjax.effects.place import Placed, run_placed
