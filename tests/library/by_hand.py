"""Log densities of the designs, written out with SciPy from their formulas; nothing of hierjax."""

import numpy as np
from scipy import special, stats


def hierarchical_linear(data, values):
    mean = values["beta"][data["group"]] * data["x"]
    return (
        stats.norm.logpdf(values["gamma"], data["gamma_mean"], data["gamma_sd"])
        + stats.halfnorm.logpdf(values["tau"], scale=data["tau_sd"])
        + stats.halfnorm.logpdf(values["sigma"], scale=data["sigma_sd"])
        + stats.norm.logpdf(values["beta"], values["gamma"], values["tau"]).sum()
        + stats.norm.logpdf(data["y"], mean, values["sigma"]).sum()
    )


def test_scores(data, values):
    mean = values["theta"][data["group"]]
    return (
        stats.norm.logpdf(values["mu"], data["mu_mean"], data["mu_sd"])
        + stats.invgamma.logpdf(values["sigma2"], data["sigma2_shape"], scale=data["sigma2_scale"])
        + stats.invgamma.logpdf(values["tau2"], data["tau2_shape"], scale=data["tau2_scale"])
        + stats.norm.logpdf(values["theta"], values["mu"], values["tau2"] ** 0.5).sum()
        + stats.norm.logpdf(data["y"], mean, values["sigma2"] ** 0.5).sum()
    )


def eight_schools(data, values):
    return (
        stats.norm.logpdf(values["mu"], 0.0, data["mu_sd"])
        + stats.halfcauchy.logpdf(values["tau"], scale=data["tau_scale"])
        + stats.norm.logpdf(values["theta"], values["mu"], values["tau"]).sum()
        + stats.norm.logpdf(data["y"], values["theta"], data["sigma"]).sum()
    )


def _normal(prior, value):
    return stats.norm.logpdf(value, float(prior.loc), float(prior.scale)).sum()


def _half_normal(prior, value):
    return stats.halfnorm.logpdf(value, scale=float(prior.scale)).sum()


def _binomial(y, trials, logits):
    return stats.binom.logpmf(y, trials, special.expit(logits)).sum()


def _vectors(values, effect, mean):
    """Density of rows of correlated effects, and of the LKJ prior of their correlation with eta 2.

    The density of a Cholesky factor L is proportional to prod_k L_kk^(K - k + 2 eta - 2), k from 2;
    for 2 x 2 with eta = 2 that is L_22^2, whose integral over L_21 in (-1, 1) with L_22 =
    sqrt(1 - L_21^2) is 4/3.
    """
    cholesky, tau = values["L"], values["tau"]
    size = len(tau)
    factor = tau[:, None] * cholesky
    deviations = np.linalg.solve(factor, (values[effect] - mean).T)
    log_det = np.log(np.diag(factor)).sum()
    normal = stats.norm.logpdf(deviations).sum() - deviations.shape[1] * log_det
    powers = size - np.arange(2, size + 1) + 2.0
    return normal + (powers * np.log(np.diag(cholesky)[1:])).sum() - _log_lkj_constant(size, 2.0)


def _log_lkj_constant(size, eta):
    """Log of the integral of det(R)^(eta - 1) over correlation matrices (Lewandowski et al. 2009).

    The integral over factors L is the same: the Jacobian of R = L L' is prod_k L_kk^(K - k).
    """
    total = 0.0
    for k in range(1, size):
        a = eta + (size - 1 - k) / 2.0
        total += (2.0 * eta - 2.0 + size - k) * (size - k) * np.log(2.0)
        total += (size - k) * special.betaln(a, a)
    return total


def _negative_binomial(y, mean, shape):
    """Density of counts with variance mean + mean^2 / shape, more exact than SciPy's."""
    return (
        special.gammaln(y + shape)
        - special.gammaln(shape)
        - special.gammaln(y + 1.0)
        + shape * np.log(shape / (shape + mean))
        + y * np.log(mean / (shape + mean))
    ).sum()


def anova(data, values):
    mean = values["mu"] * np.ones(data["num_rows"])
    total = _normal(data["mu_prior"], values["mu"])
    total += _half_normal(data["sigma_prior"], values["sigma"])
    for name in data["num_groups"]:
        sd, effect = values[f"sd_{name}"], values[f"r_{name}"]
        total += _half_normal(data["sd_prior"], sd) + stats.norm.logpdf(effect, 0.0, sd).sum()
        mean = mean + effect[data[name]]
    return total + stats.norm.logpdf(data["y"], mean, values["sigma"]).sum()


def three_level(data, values):
    mean = values["theta"][data["group"]] + data["x"] @ values["b"]
    above = values["phi"][data["parent"]]
    return (
        _normal(data["mu_prior"], values["mu"])
        + sum(_half_normal(data[f"{sd}_prior"], values[sd]) for sd in ("omega", "tau", "sigma"))
        + stats.norm.logpdf(values["b"], 0.0, data["b_sd"]).sum()
        + stats.norm.logpdf(values["phi"], values["mu"], values["omega"]).sum()
        + stats.norm.logpdf(values["theta"], above, values["tau"]).sum()
        + stats.norm.logpdf(data["y"], mean, values["sigma"]).sum()
    )


def varying_slopes(data, values):
    mean = (values["beta"][data["group"]] * data["x"]).sum(-1)
    return (
        stats.norm.logpdf(values["gamma"], data["gamma_mean"], data["gamma_sd"]).sum()
        + stats.halfnorm.logpdf(values["tau"], scale=data["tau_sd"]).sum()
        + _half_normal(data["sigma_prior"], values["sigma"])
        + _vectors(values, "beta", data["group_x"] @ values["gamma"].T)
        + stats.norm.logpdf(data["y"], mean, values["sigma"]).sum()
    )


def nested_slopes(data, values):
    mean = (values["beta"][data["group"]] * data["x"]).sum(-1)
    return (
        stats.norm.logpdf(values["gamma"], data["gamma_mean"], data["gamma_sd"]).sum()
        + stats.halfnorm.logpdf(values["omega"], scale=data["omega_sd"]).sum()
        + stats.halfnorm.logpdf(values["tau"], scale=data["tau_sd"]).sum()
        + _half_normal(data["sigma_prior"], values["sigma"])
        + stats.norm.logpdf(values["mu"], values["gamma"], values["omega"]).sum()
        + _vectors(values, "beta", values["mu"][data["parent"]])
        + stats.norm.logpdf(data["y"], mean, values["sigma"]).sum()
    )


def binomial_groups(data, values):
    return (
        _normal(data["mu_prior"], values["mu"])
        + _half_normal(data["sigma_prior"], values["sigma"])
        + stats.norm.logpdf(values["theta"], values["mu"], values["sigma"]).sum()
        + _binomial(data["y"], data["trials"], data["offset"] + values["theta"])
    )


def basket_trial(data, values):
    """The prior of the example's variance is InverseGamma(2, 1)."""
    variance = values["sigma"] ** 2
    return (
        stats.norm.logpdf(values["mu"], -1.34, 10.0)
        + stats.invgamma.logpdf(variance, 2.0, scale=1.0)
        + np.log(2.0 * values["sigma"])
        + stats.norm.logpdf(values["theta"], values["mu"], values["sigma"]).sum()
        + _binomial(data["y"], data["trials"], np.log(0.3 / 0.7) + values["theta"])
    )


def meta_arms(data, values):
    logits = values["mu"][data["study"]] + values["delta"][data["study"]] * data["treated"]
    return (
        _normal(data["d_prior"], values["d"])
        + _half_normal(data["tau_prior"], values["tau"])
        + _normal(data["baseline_prior"], values["mu"])
        + stats.norm.logpdf(values["delta"], values["d"], values["tau"]).sum()
        + _binomial(data["y"], data["trials"], logits)
    )


def gamma_poisson(data, values):
    return (
        stats.expon.logpdf(values["alpha"])
        + stats.gamma.logpdf(values["beta"], 0.1)
        + stats.gamma.logpdf(values["theta"], values["alpha"], scale=1.0 / values["beta"]).sum()
        + stats.poisson.logpmf(data["y"], values["theta"] * data["exposure"]).sum()
    )


def item_response(data, values):
    """The example has two parameters an item."""
    ability = values["ability"][data["person"]]
    logits = np.exp(values["log_discrimination"])[data["item"]] * (
        ability - values["difficulty"][data["item"]]
    )
    sd = values["discrimination_sd"]
    return (
        _normal(data["mu_prior"], values["mu"])
        + _half_normal(data["sd_prior"], values["tau"])
        + _half_normal(data["discrimination_sd_prior"], sd)
        + stats.norm.logpdf(values["ability"]).sum()
        + stats.norm.logpdf(values["difficulty"], values["mu"], values["tau"]).sum()
        + stats.norm.logpdf(values["log_discrimination"], 0.0, sd).sum()
        + _binomial(data["y"], 1, logits)
    )


def choice(data, values):
    utility = np.einsum("njk,nk->nj", data["x"], values["beta"][data["person"]])
    chosen = np.take_along_axis(utility, data["y"][:, None], axis=1)[:, 0]
    return (
        stats.norm.logpdf(values["gamma"], 0.0, data["gamma_sd"]).sum()
        + stats.halfnorm.logpdf(values["tau"], scale=data["tau_sd"]).sum()
        + _vectors(values, "beta", data["person_x"] @ values["gamma"].T)
        + (chosen - special.logsumexp(utility, axis=1)).sum()
    )


def abundance(data, values):
    """The example is negative binomial, with years."""
    log_mean = (values["beta"][data["species"]] * data["x"]).sum(-1)
    log_mean += values["r_site"][data["site"]] + values["r_year"][data["year"]]
    total, shape = 0.0, values["shape"]
    for factor in ("site", "year"):
        sd = values[f"sd_{factor}"]
        total += _half_normal(data["sd_prior"], sd)
        total += stats.norm.logpdf(values[f"r_{factor}"], 0.0, sd).sum()
    return (
        total
        + stats.norm.logpdf(values["gamma"], data["gamma_mean"], data["gamma_sd"]).sum()
        + stats.halfnorm.logpdf(values["tau"], scale=data["tau_sd"]).sum()
        + _vectors(values, "beta", values["gamma"])
        + stats.lognorm.logpdf(shape, 1.5, scale=np.e)
        + _negative_binomial(data["y"], np.exp(log_mean), shape)
    )


def n_mixture(data, values):
    """Sum over the number of individuals, one by one."""
    rate = np.exp(data["x"] @ values["b"] + values["u"][data["group"]])
    seen = special.expit(data["detection_x"] @ values["a"] + values["v"][data["group"]][:, None])
    total = 0.0
    for unit, there in enumerate(data["surveyed"]):
        found, chance = data["y"][unit, there], seen[unit, there]
        total += np.log(
            sum(
                stats.poisson.pmf(number, rate[unit])
                * np.prod(stats.binom.pmf(found, number, chance))
                for number in range(data["num_most"] + 1)
            )
        )
    return (
        total
        + stats.norm.logpdf(values["b"], data["b_mean"], data["b_sd"]).sum()
        + stats.norm.logpdf(values["a"], 0.0, data["a_sd"]).sum()
        + _half_normal(data["sd_prior"], values["sd"])
        + _half_normal(data["detection_sd_prior"], values["detection_sd"])
        + stats.norm.logpdf(values["u"], 0.0, values["sd"]).sum()
        + stats.norm.logpdf(values["v"], 0.0, values["detection_sd"]).sum()
    )


def poststratification(data, values):
    total, logits = _normal(data["mu_prior"], values["mu"]), values["mu"]
    for name in data["num_levels"]:
        sd, effect = values[f"sd_{name}"], values[f"r_{name}"]
        total += _half_normal(data["sd_prior"], sd) + stats.norm.logpdf(effect, 0.0, sd).sum()
        logits = logits + effect[data[name]]
    of_area = data["area_x"] @ values["b"]
    return (
        total
        + stats.norm.logpdf(values["b"], 0.0, data["b_sd"]).sum()
        + _half_normal(data["sd_prior"], values["sd_area"])
        + stats.norm.logpdf(values["r_area"], of_area, values["sd_area"]).sum()
        + _binomial(data["y"], data["trials"], logits + values["r_area"][data["area"]])
    )


def _words(data, values, shares_density):
    spread = np.full(data["num_vocabulary"], float(data["spread"]))
    chance = values["shares"] @ values["topic_words"]
    return (
        shares_density
        + sum(stats.dirichlet.logpdf(each, spread) for each in values["topic_words"])
        + stats.multinomial.logpmf(data["y"], data["words"], chance).sum()
    )


def topics(data, values):
    mixing = np.full(data["num_topics"], float(data["mixing"]))
    shares = sum(stats.dirichlet.logpdf(each, mixing) for each in values["shares"])
    return _words(data, values, shares)


def nested_topics(data, values):
    mixing = np.full(data["num_topics"], float(data["mixing"]))
    closeness, wholes = values["closeness"], values["collection_shares"]
    shares = sum(stats.dirichlet.logpdf(each, mixing) for each in wholes)
    shares += stats.lognorm.logpdf(closeness, 1.0, scale=np.exp(2.0))
    for each, place in zip(values["shares"], data["collection"], strict=True):
        shares += stats.dirichlet.logpdf(each, closeness * wholes[place] + 0.2)
    return _words(data, values, shares)
