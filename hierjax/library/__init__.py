"""The classic hierarchical designs, each a NumPyro function and a builder that checks its data.

Use a builder (`hierjax.library.eight_schools(y, sigma)`) to get a `Model` from data, with labels
and default priors; use the function (`hierjax.library.MODELS["eight_schools"].fn`) inside your own
NumPyro code. All are written with centred effects: how the effects are parametrised, or integrated
out, is chosen when the model is fitted. A new design is one file here and one row of `MODELS`.
"""

from hierjax.library.abundance import abundance, abundance_model
from hierjax.library.abundance import example as _abundance_example
from hierjax.library.anova import anova, anova_model
from hierjax.library.anova import example as _anova_example
from hierjax.library.basket_trial import basket_trial, basket_trial_model
from hierjax.library.basket_trial import example as _basket_trial_example
from hierjax.library.binomial_groups import binomial_groups, binomial_groups_model
from hierjax.library.binomial_groups import example as _binomial_groups_example
from hierjax.library.choice import choice, choice_model
from hierjax.library.choice import example as _choice_example
from hierjax.library.design import Design
from hierjax.library.effect_sizes import effect_sizes
from hierjax.library.eight_schools import eight_schools, eight_schools_model
from hierjax.library.eight_schools import example as _eight_schools_example
from hierjax.library.gamma_poisson import example as _gamma_poisson_example
from hierjax.library.gamma_poisson import gamma_poisson, gamma_poisson_model
from hierjax.library.hierarchical_linear import example as _hierarchical_linear_example
from hierjax.library.hierarchical_linear import hierarchical_linear, hierarchical_linear_model
from hierjax.library.item_response import example as _item_response_example
from hierjax.library.item_response import item_response, item_response_model
from hierjax.library.meta_arms import example as _meta_arms_example
from hierjax.library.meta_arms import meta_arms, meta_arms_model
from hierjax.library.n_mixture import example as _n_mixture_example
from hierjax.library.n_mixture import n_mixture, n_mixture_model
from hierjax.library.nested_slopes import example as _nested_slopes_example
from hierjax.library.nested_slopes import nested_slopes, nested_slopes_model
from hierjax.library.nested_topics import example as _nested_topics_example
from hierjax.library.nested_topics import nested_topics, nested_topics_model
from hierjax.library.poststratification import example as _poststratification_example
from hierjax.library.poststratification import poststratification, poststratification_model
from hierjax.library.priors import root
from hierjax.library.repeated_counts import RepeatedCounts
from hierjax.library.test_scores import example as _test_scores_example
from hierjax.library.test_scores import test_scores, test_scores_model
from hierjax.library.three_level import example as _three_level_example
from hierjax.library.three_level import three_level, three_level_model
from hierjax.library.topics import example as _topics_example
from hierjax.library.topics import topics, topics_model
from hierjax.library.varying_slopes import example as _varying_slopes_example
from hierjax.library.varying_slopes import varying_slopes, varying_slopes_model

MODELS: dict[str, Design] = {
    "hierarchical_linear": Design(
        hierarchical_linear_model, hierarchical_linear, _hierarchical_linear_example
    ),
    "test_scores": Design(test_scores_model, test_scores, _test_scores_example),
    "eight_schools": Design(eight_schools_model, eight_schools, _eight_schools_example),
    "anova": Design(anova_model, anova, _anova_example),
    "three_level": Design(three_level_model, three_level, _three_level_example),
    "varying_slopes": Design(varying_slopes_model, varying_slopes, _varying_slopes_example),
    "nested_slopes": Design(nested_slopes_model, nested_slopes, _nested_slopes_example),
    "binomial_groups": Design(binomial_groups_model, binomial_groups, _binomial_groups_example),
    "basket_trial": Design(basket_trial_model, basket_trial, _basket_trial_example),
    "meta_arms": Design(meta_arms_model, meta_arms, _meta_arms_example),
    "gamma_poisson": Design(gamma_poisson_model, gamma_poisson, _gamma_poisson_example),
    "item_response": Design(item_response_model, item_response, _item_response_example),
    "choice": Design(choice_model, choice, _choice_example),
    "abundance": Design(abundance_model, abundance, _abundance_example),
    "n_mixture": Design(n_mixture_model, n_mixture, _n_mixture_example),
    "poststratification": Design(
        poststratification_model, poststratification, _poststratification_example
    ),
    "topics": Design(topics_model, topics, _topics_example),
    "nested_topics": Design(nested_topics_model, nested_topics, _nested_topics_example),
}

__all__ = [
    "MODELS",
    "Design",
    "RepeatedCounts",
    "abundance",
    "anova",
    "basket_trial",
    "binomial_groups",
    "choice",
    "effect_sizes",
    "eight_schools",
    "gamma_poisson",
    "hierarchical_linear",
    "item_response",
    "meta_arms",
    "n_mixture",
    "nested_slopes",
    "nested_topics",
    "poststratification",
    "root",
    "test_scores",
    "three_level",
    "topics",
    "varying_slopes",
]
