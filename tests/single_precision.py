"""Plugin of pytest: every fit is in single precision that does not ask for another.

    pytest -p tests.single_precision tests/test_fit.py

Names of what is fitted are those of the package; tests that compare with densities in double
precision ask for it themselves, and so are left as they are.
"""

import hierjax as hj

VERBS = (hj.fit, hj.fit_many, hj.sbc)


def pytest_configure():
    """Change the defaults; the process ends with the tests."""
    for verb in VERBS:
        assert "dtype" in verb.__kwdefaults__, verb
        verb.__kwdefaults__["dtype"] = "float32"
