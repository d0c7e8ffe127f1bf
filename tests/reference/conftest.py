"""Each reference model is fitted once a session; posteriors are frozen, so tests may share them."""

import pytest

import hierjax as hj
from tests.helpers import reference
from tests.reference.cases import CASES

SEED = 20


PARAMETERS = [
    pytest.param(name, marks=[pytest.mark.slow] if case.slow else [])
    for name, case in CASES.items()
]


@pytest.fixture(scope="session", params=PARAMETERS)
def fitted(request):
    """(case, posterior) of one reference posterior."""
    case = CASES[request.param]
    reference(f"{case.folder}/reference_summary.json")
    posterior = hj.fit(
        case.build(), method=case.method, seed=SEED, effects=case.effects, progress=False
    )
    return case, posterior
