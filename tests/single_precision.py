"""Plugin of pytest: every fit is in single precision that does not ask for another.

pytest -p tests.single_precision tests/test_fit.py
"""

import hierjax as hj

VERBS = (hj.fit, hj.fit_many, hj.sbc)
ABOUT_DOUBLE = (  # they compare with double precision
    "test_every_site_under_its_own_name",
    "test_sampler_gives_the_draws_of_fit_and_works_under_jit_and_vmap",
)


def pytest_configure():
    """Change the defaults; the process ends with the tests."""
    for verb in VERBS:
        assert "dtype" in verb.__kwdefaults__, verb
        verb.__kwdefaults__["dtype"] = "float32"


def pytest_collection_modifyitems(config, items):
    """Leave out what is about double precision."""
    left_out = [item for item in items if item.originalname in ABOUT_DOUBLE]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
