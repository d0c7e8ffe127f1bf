"""What holds for all tests."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_kept_programs():
    """Tests neither use nor fill the user's cache: JAX keeps that option for the whole process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIERJAX_CACHE_DIR", "")
        yield
