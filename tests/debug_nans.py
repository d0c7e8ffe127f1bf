"""Plugin of pytest: JAX stops where a NaN is made.

pytest -p tests.debug_nans tests/test_density.py
"""

import jax

FLAG = "jax_debug_nans"
ABOUT_NAN = (  # they make one on purpose
    "test_a_block_that_is_not_definite_is_nan_alone",
    "test_too_little_room_gives_no_number",
    "test_failure_is_a_status_and_never_silent",
)


def pytest_configure():
    """Look for NaN everywhere; the process ends with the tests."""
    jax.config.update(FLAG, True)


def pytest_collection_modifyitems(config, items):
    """Leave out what makes a NaN on purpose."""
    left_out = [item for item in items if item.originalname in ABOUT_NAN]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
