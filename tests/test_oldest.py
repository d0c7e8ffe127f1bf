"""The oldest versions that the tests are run with are the lower bounds that are promised."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def padded(version):
    return [*version.split("."), "0", "0"][:3]


def test_oldest_versions_are_the_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = dict(line.split(">=") for line in project["dependencies"])
    lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert list(oldest) == list(bounds)
    for name, bound in bounds.items():
        assert padded(oldest[name]) == padded(bound), name
