"""Names that references use, in the words of the designs."""

HSB82 = {
    "(Intercept)": "gamma[0, 0]",
    "meanses": "gamma[0, 1]",
    "sectorPublic": "gamma[0, 2]",
    "cses": "gamma[1, 0]",
    "cses:meanses": "gamma[1, 1]",
    "cses:sectorPublic": "gamma[1, 2]",
    "school|(Intercept)|": "tau[0]",
    "school|cses|": "tau[1]",
    "Residual|NA|": "sigma",
}
EXAM = {
    "(Intercept)": "gamma[0, 0]",
    "standLRT": "gamma[1, 0]",
    "school|(Intercept)|": "tau[0]",
    "school|standLRT|": "tau[1]",
    "Residual|NA|": "sigma",
}
CHEM97 = {
    "(Intercept)": "mu",
    "gcsecnt": "b[0]",
    "school|(Intercept)|": "tau",
    "lea|(Intercept)|": "omega",
    "Residual|NA|": "sigma",
}


def from_zero(name: str) -> str:
    """Count an element from zero: theta[1] becomes theta[0]."""
    site, _, place = name.partition("[")
    return f"{site}[{int(place[:-1]) - 1}]" if place else site


def penicillin_names(name: str) -> str | None:
    """Name a parameter of plates and samples as `anova` does."""
    words = {"b_Intercept": "mu", "sigma": "sigma"}
    words |= {f"sd_{factor}__Intercept": f"sd_{factor}" for factor in ("plate", "sample")}
    if name in words:
        return words[name]
    for factor, first in (("plate", "a"), ("sample", "A")):
        if name.startswith(f"r_{factor}["):
            return f"r_{factor}[{ord(name[len(factor) + 3]) - ord(first)}]"
    return None


def pastes_names(name: str) -> str | None:
    """Name a parameter of casks in batches as `three_level` does."""
    return {
        "b_Intercept": "mu",
        "sd_batch__Intercept": "omega",
        "sd_batch:cask__Intercept": "tau",
        "sigma": "sigma",
    }.get(name)


def sleepstudy_names(name: str) -> str | None:
    """Name a parameter of lines of subjects as `varying_slopes` does."""
    return {
        "b_Intercept": "gamma[0, 0]",
        "b_Days": "gamma[1, 0]",
        "sd_Subject__Intercept": "tau[0]",
        "sd_Subject__Days": "tau[1]",
        "sigma": "sigma",
        "cor_Subject__Intercept__Days": "cor[1, 0]",
    }.get(name)


def rats_names(name: str) -> str | None:
    """Name a parameter of lines of rats as `varying_slopes` does."""
    words = {
        "mu_alpha": "gamma[0, 0]",
        "mu_beta": "gamma[1, 0]",
        "sigma_alpha": "tau[0]",
        "sigma_beta": "tau[1]",
        "sigma_y": "sigma",
    }
    site, _, place = name.partition("[")
    if place and site in ("alpha", "beta"):
        return f"beta[{int(place[:-1]) - 1}, {int(site == 'beta')}]"
    return words.get(name)


def surgical_names(name: str) -> str | None:
    """Name a parameter of hospitals as `binomial_groups` does."""
    return name if name in ("mu", "sigma") else from_zero(name) if name[:2] == "p[" else None
