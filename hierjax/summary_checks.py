"""The checks of a fit: the number looked at, what is wrong with it, and what to do about it.

A check is one row of the table that `checks_of` returns, the gravest first. Problems and remedies
are worded for someone who meets them for the first time.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from hierjax.draws import Status

if TYPE_CHECKING:
    import pandas as pd

# Vehtari et al. (2021), doi:10.1214/20-BA1221, section 4.
LARGEST_RHAT = 1.01
SMALLEST_ESS_PER_CHAIN = 100
# Betancourt (2016), arXiv:1604.00695.
SMALLEST_E_BFMI = 0.3
# Vehtari et al. (2024), Pareto smoothed importance sampling, JMLR 25(72).
LARGEST_K_HAT = 0.7
SMALLEST_WEIGHT_ESS = 100
SETTINGS = {"gibbs": "Gibbs"}  # method -> its settings, where they are not those of NUTS
BETTER_METHOD = 'Use method="nuts" for the final answer, or a richer guide.'
ONE_CHAIN = "There is one chain: nothing shows whether others would end elsewhere. Run four."
BETTER_THAN_POINTS = 'Use method="nuts", or more points, e.g. Laplace(points=4000, rounds=8).'


@dataclasses.dataclass(frozen=True)
class Extreme:
    """The worst value of a statistic over all parameters, and the parameter that has it."""

    value: float
    parameter: str


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name
        What was looked at, e.g. "R-hat".
    found
        The number found, as text.
    ok
        Whether it is good.
    problem, remedy
        If not: what is wrong, and what to do. Empty otherwise.
    """

    name: str
    found: str
    ok: bool
    problem: str = ""
    remedy: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnostics:
    """Whether the draws of a fit can be trusted.

    Attributes
    ----------
    method, num_chains, num_draws
        Method and size of the run; draws of each chain.
    noncentred
        Whether group effects were not sampled as the model writes them.
    rhat, ess_bulk, ess_tail
        Worst over all parameters; None where chains cannot be compared (approximations).
    divergences, divergence_fraction
        Number and fraction of draws whose trajectory diverged.
    max_tree_depth, tree_depth_hits
        The limit, and the number of draws whose trajectory reached it.
    e_bfmi
        Energy fraction of missing information of each chain; empty without energies.
    k_hat, weight_ess
        Of the importance weights of an approximation; None without weights.
    status_codes, status
        Outcome of each chain: `hierjax.draws.Status`, and in words.
    unmoved
        Parameters whose draws are constant or not finite.
    table
        Per parameter, as `Posterior.summary` has it.
    checks
        Everything that was looked at.
    notes
        What else there is to know of a point estimate, in sentences.
    """

    method: str
    num_chains: int
    num_draws: int
    noncentred: bool
    rhat: Extreme | None
    ess_bulk: Extreme | None
    ess_tail: Extreme | None
    divergences: int
    divergence_fraction: float
    max_tree_depth: int | None
    tree_depth_hits: int
    e_bfmi: tuple[float, ...]
    k_hat: float | None
    weight_ess: float | None
    status_codes: tuple[int, ...]
    status: tuple[str, ...]
    unmoved: tuple[str, ...]
    table: "pd.DataFrame"
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check is good."""
        return all(check.ok for check in self.checks)

    @property
    def e_bfmi_min(self) -> float | None:
        """Smallest E-BFMI over the chains."""
        return min(self.e_bfmi, default=None)

    @property
    def verdict(self) -> str:
        """One line: "Good: ..." with the numbers, or "Check: ..." with the gravest problem.

        Below it one line for each of `notes`.
        """
        return "\n".join([self._line, *self.notes])

    @property
    def _line(self) -> str:
        bad = [check for check in self.checks if not check.ok]
        if not bad:
            converged = "converged, " if self.method == "empirical_bayes" else ""
            found = ", ".join(f"{check.name} {check.found}" for check in self.checks[1:5])
            return f"Good: {converged}{found}."
        others = f" (Also: {', '.join(check.name for check in bad[1:])}.)" if bad[1:] else ""
        return f"Check: {bad[0].problem}. {bad[0].remedy}{others}"

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = [self.verdict, ""]
        for check in self.checks:
            mark = "ok   " if check.ok else "CHECK"
            lines.append(f"  {mark}  {check.name:<{width}}  {check.found}")
        for check in (check for check in self.checks if not check.ok):
            lines += ["", f"{check.problem}.", f"  {check.remedy}"]
        return "\n".join(lines)


def checks_of(facts: Diagnostics, *, approximate: bool) -> tuple[Check, ...]:
    """Return every check of a fit, the gravest first; `approximate` asks for those of weights."""
    judged = _approximation_checks(facts) if approximate else _chain_checks(facts)
    return (_run_check(facts), *_unmoved_checks(facts), *judged)


def _run_check(facts: Diagnostics) -> Check:
    failed = [chain for chain, code in enumerate(facts.status_codes) if code != Status.OK]
    finished = facts.num_chains - len(failed)
    noun = "chain" if facts.num_chains == 1 else "chains"
    found = f"{finished} of {facts.num_chains} {noun} finished, {facts.num_draws:,} draws each"
    if facts.method == "laplace" and Status.POOR_WEIGHTS in facts.status_codes:
        problem = facts.status[0]
        return Check(
            "run",
            f"stopped at its limit, {facts.num_draws:,} draws",
            False,
            problem,
            BETTER_THAN_POINTS,
        )
    if not failed:
        return Check("run", found, True)
    problem = f"chain {failed[0]} (of 0 to {facts.num_chains - 1}): {facts.status[failed[0]]}"
    return Check("run", found, False, problem, "Do not use these draws.")


def _unmoved_checks(facts: Diagnostics) -> list[Check]:
    if not facts.unmoved:
        return []
    listed = ", ".join(facts.unmoved[:3]) + (", ..." if len(facts.unmoved) > 3 else "")
    problem = f"the draws of {listed} are constant or not finite"
    remedy = (
        'See in post.plot("trace") whether the chains ever moved, and whether the model function '
        "fixes these parameters or overflows."
    )
    return [Check("constant draws", f"{len(facts.unmoved)}: {listed}", False, problem, remedy)]


def _chain_checks(facts: Diagnostics) -> list[Check]:
    return [
        *([] if facts.method == "gibbs" else [_divergence_check(facts)]),  # it has no trajectories
        _rhat_check(facts),
        _ess_check(facts, "bulk ESS", facts.ess_bulk, "the centre"),
        _ess_check(facts, "tail ESS", facts.ess_tail, "the 5% and 95% quantiles"),
        *_depth_checks(facts),
        *_energy_checks(facts),
    ]


def _divergence_check(facts: Diagnostics) -> Check:
    count = facts.divergences
    if not count:
        return Check("divergences", "none", True)
    noun = "transition" if count == 1 else "transitions"
    share = f"{facts.divergence_fraction:.1%} of the draws"
    return Check(
        "divergences",
        f"{count:,} ({share})",
        False,
        f"{count:,} divergent {noun} ({share}): the sampler met a region it cannot follow, often "
        "the funnel where a level's sd is near zero, and means may be biased",
        "Take smaller steps, NUTS(target_accept=0.95), or put tighter priors on the levels' sds."
        if facts.noncentred
        else 'Sample the effects as standardised deviations (effects="noncentred"); if divergences '
        "stay, take smaller steps: NUTS(target_accept=0.95).",
    )


def _rhat_check(facts: Diagnostics) -> Check:
    if facts.rhat is None:
        return _too_few(facts, "R-hat")
    found = f"{facts.rhat.value:.3f} at most"
    if facts.rhat.value <= LARGEST_RHAT:
        return Check("R-hat", found, True)
    return Check(
        "R-hat",
        f"{found}, for {facts.rhat.parameter} (wanted: {LARGEST_RHAT} at most)",
        False,
        f"R-hat of {facts.rhat.parameter} is {facts.rhat.value:.3f}: the chains do not agree yet",
        f"Run longer, e.g. {_settings(facts)}(warmup=2000, draws=2000); if that does not help, "
        'look in post.plot("trace") for chains in different places, and at the priors.',
    )


def _ess_check(facts: Diagnostics, name: str, worst: Extreme | None, of: str) -> Check:
    if worst is None:
        return _too_few(facts, name)
    wanted = SMALLEST_ESS_PER_CHAIN * facts.num_chains
    found = f"{worst.value:,.0f} at least"
    if worst.value >= wanted:
        return Check(name, found, True)
    return Check(
        name,
        f"{found}, for {worst.parameter} (wanted: {wanted:,})",
        False,
        f"{worst.parameter} has only {worst.value:,.0f} effective draws for {of} ({name})",
        f"Run more draws, e.g. {_settings(facts)}"
        f"(draws={_more_draws(facts.num_draws, wanted, worst.value)}), "
        f"or make sampling easier: {_easier(facts)}.",
    )


def _settings(facts: Diagnostics) -> str:
    return SETTINGS.get(facts.method, "NUTS")


def _too_few(facts: Diagnostics, name: str) -> Check:
    problem = f"{name} cannot be computed: fewer than 4 draws a chain, or none that moved"
    remedy = f"Run more draws, e.g. {_settings(facts)}(draws=1000)."
    return Check(name, "not known", False, problem, remedy)


def _easier(facts: Diagnostics) -> str:
    """Say what makes a hierarchical model easier to sample, less what was done already."""
    priors = "tighter priors on the levels' sds (see model.priors())"
    return priors if facts.noncentred else f'effects="noncentred", or {priors}'


def _more_draws(num_draws: int, wanted: float, found: float) -> int:
    """Draws a chain that would reach the wanted size, rounded up to thousands, 20,000 at most."""
    needed = num_draws * 1.2 * wanted / max(found, 1.0)
    return int(min(np.ceil(needed / 1000) * 1000, 20_000))


def _depth_checks(facts: Diagnostics) -> list[Check]:
    if facts.max_tree_depth is None:
        return []
    hits, limit = facts.tree_depth_hits, facts.max_tree_depth
    if not hits:
        return [Check("tree depth", f"below {limit}", True)]
    return [
        Check(
            "tree depth",
            f"{hits:,} draws reached {limit}",
            False,
            f"{hits:,} trajectories were cut off at max_tree_depth={limit}: sampling is slow, "
            "though not wrong",
            "Centre and scale the predictors, or allow longer trajectories: "
            f"NUTS(max_tree_depth={limit + 2}).",
        )
    ]


def _energy_checks(facts: Diagnostics) -> list[Check]:
    smallest = facts.e_bfmi_min
    if smallest is None:
        return []
    found = f"{smallest:.2f} at least"
    if not smallest < SMALLEST_E_BFMI:
        return [Check("E-BFMI", found, True)]
    return [
        Check(
            "E-BFMI",
            f"{found} (wanted: {SMALLEST_E_BFMI})",
            False,
            f"E-BFMI is {smallest:.2f}: the sampler explores the tails slowly, as happens with "
            "heavy tails or a level's sd that the data hardly determine",
            f"Make sampling easier: {_easier(facts)}.",
        )
    ]


def _approximation_checks(facts: Diagnostics) -> list[Check]:
    if facts.k_hat is None or facts.weight_ess is None:
        problem = "nothing says how close the approximation is: there are no importance weights"
        return [Check("k-hat", "not known", False, problem, BETTER_METHOD)]
    num_draws = facts.num_chains * facts.num_draws
    remedy = BETTER_THAN_POINTS if facts.method == "laplace" else BETTER_METHOD
    # Weights that are all equal have no tail to fit; the approximation is exact then.
    exact = np.isnan(facts.k_hat) and facts.weight_ess > 0.99 * num_draws
    good = bool(exact or facts.k_hat <= LARGEST_K_HAT)
    k_hat = Check("k-hat", "weights are equal" if exact else f"{facts.k_hat:.2f}", good)
    enough = facts.weight_ess >= SMALLEST_WEIGHT_ESS
    size = Check("effective draws", f"{facts.weight_ess:,.0f} of {num_draws:,} by weight", enough)
    if not good:
        k_hat = dataclasses.replace(
            k_hat,
            found=f"{facts.k_hat:.2f} (wanted: {LARGEST_K_HAT} at most)",
            problem=f"k-hat is {facts.k_hat:.2f}: the approximation misses part of the posterior, "
            "and sds are usually too small",
            remedy=remedy,
        )
    if not enough:
        size = dataclasses.replace(
            size,
            problem=f"the draws are worth only {facts.weight_ess:,.0f} draws of the posterior",
            remedy=remedy,
        )
    return [k_hat, size]
