"""hierjax: hierarchical Bayesian models in JAX."""
