"""Imports go downwards through the layers only, also those inside functions."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hierjax"

LAYERS = (
    ("errors", "checks", "cache", "files", "memory", "threads", "compiler", "versions",
     "interrupts"),
    ("linalg", "groups", "ragged", "optimise", "diagnostics", "importance_weights", "draws",
     "low_discrepancy"),
    ("arguments", "bounds", "trace", "provenance", "polynomial", "effects", "levels", "level",
     "relations", "model", "names", "density", "validation"),
    ("transforms", "formula", "library"),
    ("infer",),
    ("predict", "pooling", "loo", "compare", "export", "store", "plots", "datasets", "summary",
     "progress", "report", "sensitivity"),
    ("posterior",),
    ("fit", "methods", "method_comparison", "programs", "pieces", "checkpoint", "row_sharding",
     "sampler", "maximise", "automatic", "batch", "sbc"),
    ("cli", "cli_by", "bench", "__main__", "__init__"),
)  # fmt: skip
APART = {"transforms", "formula", "library"}  # these three do not import each other
NEVER = {("infer", "transforms")}


def layer_of(part: str) -> int:
    """Layer of a top-level module; `level_tree` belongs with `levels`, and so on."""
    for number, parts in enumerate(LAYERS):
        if part in parts or any(part.startswith(f"{name}_") for name in parts):
            return number
    raise AssertionError(f"hierjax.{part} has no layer: add it to LAYERS in {__file__}")


def imports_of(path: Path) -> set[str]:
    """Top-level hierjax modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if node.module == "hierjax":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("hierjax."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("hierjax.")}
    return found


MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path):
    relative = path.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    for imported in imports_of(path) - {part}:
        assert layer_of(imported) <= layer_of(part), f"{relative} imports hierjax.{imported}"
        assert not {part, imported} <= APART, f"{relative} imports hierjax.{imported}"
        assert (part, imported) not in NEVER, f"{relative} imports hierjax.{imported}"


def test_a_planted_upward_import_is_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from hierjax.fit import fit\n    import hierjax.plots\n")
    assert imports_of(planted) == {"fit", "plots"}
    assert layer_of("fit") > layer_of("levels")


IMPORT_CHECK = """
import sys
import numpyro
before = set(sys.modules)
import hierjax
import jax
import jax._src.xla_bridge
heavy = {"matplotlib", "xarray", "pandas", "arviz_base", "formulaic", "blackjax", "rich", "typer"}
loaded = heavy & (set(sys.modules) - before)
assert not loaded, f"import hierjax loads {sorted(loaded)}"
assert not jax._src.xla_bridge._backends, "import hierjax starts a device"
assert not jax.live_arrays()
"""


def test_import_is_light():
    done = subprocess.run([sys.executable, "-c", IMPORT_CHECK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ROOT = PACKAGE.parent


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("basedpyright",),
    ],
    ids=lambda command: " ".join(command),
)
def test_linters_and_types(command):
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
