"""The problems as Stan programs, centred and non-centred."""

from hierjax.bench.problems import Factor, MixedModel, Schools

Blocks = dict[str, list[str]]
ORDER = ("data", "parameters", "transformed parameters", "model", "generated quantities")
RESPONSE = {
    "gaussian": "vector[N] y;",
    "binomial": "array[N] int<lower=0> y;",
    "poisson": "array[N] int<lower=0> y;",
}
LIKELIHOOD = {
    "gaussian": "y ~ normal(eta, sigma);",
    "binomial": "y ~ binomial_logit(trials, eta);",
    "poisson": "y ~ poisson_log(eta);",
}


def _text(blocks: Blocks) -> str:
    lines = []
    for name in ORDER:
        if blocks[name]:
            lines += [f"{name} {{", *(f"  {line}" for line in blocks[name]), "}"]
    return "\n".join(lines)


def schools_program(problem: Schools, centred: bool) -> str:
    """Return the program of estimates with known standard errors."""
    blocks: Blocks = {name: [] for name in ORDER}
    blocks["data"] = ["int<lower=1> J;", "vector[J] y;", "vector<lower=0>[J] sigma;"]
    blocks["parameters"] = ["real mu;", "real<lower=0> tau;"]
    blocks["model"] = [
        f"mu ~ normal(0, {problem.mu_sd});",
        f"tau ~ cauchy(0, {problem.tau_scale});",
        "y ~ normal(theta, sigma);",
    ]
    if centred:
        blocks["parameters"].append("vector[J] theta;")
        blocks["model"].append("theta ~ normal(mu, tau);")
    else:
        blocks["parameters"].append("vector[J] z;")
        blocks["transformed parameters"] = ["vector[J] theta = mu + tau * z;"]
        blocks["model"].append("z ~ std_normal();")
    return _text(blocks)


def mixed_program(problem: MixedModel, centred: bool) -> str:
    """Return the program of a regression with normal group effects."""
    priors = problem.priors
    blocks: Blocks = {name: [] for name in ORDER}
    blocks["data"] = [
        "int<lower=1> N;",
        "int<lower=1> P;",
        "matrix[N, P] X;",
        RESPONSE[problem.family],
        "vector[P] b_mean;",
        "vector<lower=0>[P] b_sd;",
    ]
    if problem.trials:
        blocks["data"].append("array[N] int<lower=0> trials;")
    blocks["parameters"] = ["vector[P] b;"]
    blocks["model"] = ["b ~ normal(b_mean, b_sd);"]
    terms = ["X * b"]
    for number, factor in enumerate(problem.factors):
        (_slopes if factor.slope else _intercepts)(blocks, number, problem, centred)
        terms.append(_term(number, factor))
    if problem.family == "gaussian":
        blocks["parameters"].append("real<lower=0> sigma;")
        blocks["model"].append(f"sigma ~ normal(0, {priors.sigma});")
    blocks["model"].insert(0, f"vector[N] eta = {' + '.join(terms)};")
    blocks["model"].append(LIKELIHOOD[problem.family])
    return _text(blocks)


def _term(number: int, factor: Factor) -> str:
    if not factor.slope:
        return f"r_{number}[g_{number}]"
    return f"r_{number}[g_{number}, 1] + r_{number}[g_{number}, 2] .* x_{number}"


def _intercepts(blocks: Blocks, n: int, problem: MixedModel, centred: bool) -> None:
    """Add one normal effect of each group."""
    blocks["data"] += [f"int<lower=1> J_{n};", f"array[N] int<lower=1, upper=J_{n}> g_{n};"]
    blocks["parameters"].append(f"real<lower=0> sd_{n};")
    blocks["model"].append(f"sd_{n} ~ normal(0, {problem.priors.sd});")
    if centred:
        blocks["parameters"].append(f"vector[J_{n}] r_{n};")
        blocks["model"].append(f"r_{n} ~ normal(0, sd_{n});")
        return
    blocks["parameters"].append(f"vector[J_{n}] z_{n};")
    blocks["transformed parameters"].append(f"vector[J_{n}] r_{n} = sd_{n} * z_{n};")
    blocks["model"].append(f"z_{n} ~ std_normal();")


def _slopes(blocks: Blocks, n: int, problem: MixedModel, centred: bool) -> None:
    """Add a correlated intercept and slope of each group."""
    blocks["data"] += [
        f"int<lower=1> J_{n};",
        f"array[N] int<lower=1, upper=J_{n}> g_{n};",
        f"vector[N] x_{n};",
    ]
    blocks["parameters"] += [f"vector<lower=0>[2] sd_{n};", f"cholesky_factor_corr[2] L_{n};"]
    blocks["model"] += [
        f"sd_{n} ~ normal(0, {problem.priors.sd});",
        f"L_{n} ~ lkj_corr_cholesky({problem.priors.concentration});",
    ]
    blocks["generated quantities"].append(
        f"matrix[2, 2] cor_{n} = multiply_lower_tri_self_transpose(L_{n});"
    )
    scale = f"diag_pre_multiply(sd_{n}, L_{n})"
    if centred:
        blocks["parameters"].append(f"array[J_{n}] vector[2] e_{n};")
        blocks["model"].append(f"e_{n} ~ multi_normal_cholesky(rep_vector(0, 2), {scale});")
        blocks["transformed parameters"] += [
            f"matrix[J_{n}, 2] r_{n};",
            f"for (j in 1:J_{n}) r_{n}[j] = e_{n}[j]';",
        ]
        return
    blocks["parameters"].append(f"matrix[2, J_{n}] z_{n};")
    blocks["transformed parameters"].append(f"matrix[J_{n}, 2] r_{n} = ({scale} * z_{n})';")
    blocks["model"].append(f"to_vector(z_{n}) ~ std_normal();")
