"""Every posterior of the reference folder, by every exact method that applies.

`pytest -m slow tests/reference -rP` also prints the largest gap of every fit.
"""

import numpy as np
import pytest

import hierjax as hj
from tests.reference.compare import compare, largest
from tests.reference.table import ROWS

pytestmark = pytest.mark.slow
SEED = 11
GRID = [(name, method) for name, row in ROWS.items() for method in row.methods]


@pytest.mark.parametrize(("name", "method"), GRID)
def test_means_sds_and_quantiles_are_those_of_the_reference(name, method):
    row = ROWS[name]
    expected = {str(source): source.expected() for source in row.sources}
    posterior = hj.fit(row.build(), method=row.methods[method], seed=SEED, progress=False)
    diagnostics = posterior.diagnostics()
    weighted = diagnostics.weight_ess
    worth = np.inf if weighted is None else weighted
    draws = row.names(posterior)
    for source, each in expected.items():
        gap = largest(compare(draws, each, worth))
        print(f"{name} {method} {source}: {gap} ({gap.share:.2f} of what is allowed)")
    print(f"{name} {method}: {posterior.info.seconds}, {diagnostics.verdict}")


@pytest.mark.parametrize(
    ("name", "method"), [("gaussian_process", "laplace"), ("pumps", "laplace"), ("dyes", "nuts")]
)
def test_a_method_that_misses_some_of_the_posterior_says_so(name, method):
    assert method in ROWS[name].absent
    posterior = hj.fit(ROWS[name].build(), method=method, seed=SEED, progress=False)
    assert not posterior.diagnostics().ok
