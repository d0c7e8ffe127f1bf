"""The classic hierarchical designs, each a NumPyro function and a builder that checks its data.

Use a builder (`hierjax.library.eight_schools(y, sigma)`) to get a `Model` from data, with labels
and default priors; use the function (`hierjax.library.MODELS["eight_schools"].fn`) inside your own
NumPyro code. All are written with centred effects: how the effects are parametrised, or integrated
out, is chosen when the model is fitted. A new design is one file here and one row of `MODELS`.
"""

from hierjax.library.design import Design
from hierjax.library.eight_schools import eight_schools, eight_schools_model
from hierjax.library.eight_schools import example as _eight_schools_example
from hierjax.library.hierarchical_linear import example as _hierarchical_linear_example
from hierjax.library.hierarchical_linear import hierarchical_linear, hierarchical_linear_model
from hierjax.library.test_scores import example as _test_scores_example
from hierjax.library.test_scores import test_scores, test_scores_model

MODELS: dict[str, Design] = {
    "hierarchical_linear": Design(
        hierarchical_linear_model, hierarchical_linear, _hierarchical_linear_example
    ),
    "test_scores": Design(test_scores_model, test_scores, _test_scores_example),
    "eight_schools": Design(eight_schools_model, eight_schools, _eight_schools_example),
}

__all__ = ["MODELS", "Design", "eight_schools", "hierarchical_linear", "test_scores"]
