"""Variational inference from minibatches of rows: the answer of all rows, in less memory.

`python -m tests.infer.test_svi_minibatch ROWS MINIBATCH` prints the peak memory and the processor
time of one fit; a minibatch of 0 is a fit to all rows.
"""

import resource
import sys
import time

import numpy as np
import pytest

import hierjax as hj


def simulated(rows, groups=50):
    """Counts whose log rate has an intercept that differs between groups."""
    generator = np.random.default_rng(0)
    group, x = generator.integers(0, groups, rows), generator.normal(size=rows)
    rate = np.exp(0.5 + 0.3 * x + generator.normal(0.0, 0.6, groups)[group])
    table = {"y": generator.poisson(rate), "x": x, "g": group}
    return hj.formula("y ~ x + (1 | g)", table, family="poisson")


@pytest.mark.slow
def test_a_fit_by_minibatches_agrees_with_that_of_all_rows():
    model = simulated(20_000)
    whole = hj.fit(model, method=hj.SVI(draws=4000), effects="centred", progress=False)
    some = hj.fit(model, method=hj.SVI(minibatch=2000, draws=4000), progress=False)
    assert some.info.effects["r_g"].startswith("centred (to integrate or recentre them takes")
    for name in ("b_Intercept", "b_x", "sd_g", "r_g"):
        sd = whole.draws[name].std((0, 1))
        gap = np.abs(some.draws[name].mean((0, 1)) - whole.draws[name].mean((0, 1))) / sd
        ratio = some.draws[name].std((0, 1)) / sd
        assert gap.max() < 0.5, (name, gap.max())
        assert 0.8 < ratio.min() and ratio.max() < 1.25, (name, ratio.min(), ratio.max())


def main() -> None:
    """Fit once, and print what it took."""
    rows, number = map(int, sys.argv[1:])
    model = simulated(rows)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    method = hj.SVI(minibatch=number or None, max_steps=300)
    fit = hj.fit(model, method=method, effects="centred", progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{rows:,} rows, minibatch {number or 'none'}: {before / 1024:.0f} MiB before, "
        f"{peak / 1024:.0f} MiB at most, {time.process_time() - started:.0f} CPU s, "
        f"{len(fit.info.trace['elbo'])} chunks, status {fit.info.status}"
    )


if __name__ == "__main__":
    main()
