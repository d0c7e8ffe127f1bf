"""The full grid of structures compiles hundreds of programs: the fast suite takes a cover of it."""

import pytest

# Between them: one factor, empty groups, zero scales, nesting, crossing, ML, real data.
QUICK = {
    "slopes",
    "empty groups",
    "zero scale",
    "nested and crossed",
    "by cells, third factor",
    "crossed, ml",
    "sleepstudy",
    "penicillin",
    "pastes",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        callspec = getattr(item, "callspec", None)
        name = callspec.params.get("name") if callspec else None
        if item.path.parent.name == "linalg" and name is not None and name not in QUICK:
            item.add_marker(pytest.mark.slow)
