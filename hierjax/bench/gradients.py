"""What one gradient of the log density costs, by rows and groups.

On a GPU the derivative of `effect[group]` is a scatter of rows into groups. Where groups are few,
compilers make that a loop of compare-and-swap in which all rows wait for one another, up to 2,000
times slower than where groups are many (numpyro#2225). With normal effects integrated out, rows are
summed once, and a gradient should not cost more where there are more of them.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.bench.resources import cpu_seconds, peak_mb
from hierjax.bench.row import CostRow
from hierjax.bench.tools.base import package_versions

SECONDS = 1.0  # of gradients, at least
FEWEST, MOST = 5, 2_000  # gradients


def gradient_model(rows: int, groups: int, treatment: str) -> Any:
    """Simulate rows of one factor: normal ones to integrate effects out of, binary ones else."""
    import hierjax

    generator = np.random.default_rng(0)
    group = generator.integers(0, groups, rows)
    group[:groups] = np.arange(groups)[:rows]  # none is empty
    effect = generator.normal(0.0, 1.0, groups)[group]
    if treatment == "integrate":
        y, family = effect + generator.normal(size=rows), "gaussian"
    else:
        chance = 1.0 / (1.0 + np.exp(-effect))
        y, family = (generator.random(rows) < chance).astype(int), "bernoulli"
    return hierjax.formula("y ~ 1 + (1 | g)", {"y": y, "g": group.astype(str)}, family=family)


def gradient_of(model: Any, treatment: str, precision: str) -> Callable[[], None]:
    """Compile the gradient of the density that is sampled; return what evaluates it once."""
    from hierjax.arguments import Arguments
    from hierjax.density import make_density
    from hierjax.methods import Problem
    from hierjax.programs import prepared_data

    with jax.enable_x64(precision == "float64"):
        coordinates = Problem(model.fn, model.data, treatment).coordinates
        data = prepared_data(coordinates, model.data)
        arguments = Arguments.of(data)
        density = make_density(coordinates.fn, arguments, data)
        arrays = jax.device_put(arguments.arrays(data))
        position = jnp.full(density.size, 0.1)
        gradient = jax.jit(jax.grad(density.log_density)).lower(position, arrays).compile()

    def evaluate() -> None:
        jax.block_until_ready(gradient(position, arrays))

    return evaluate


def measure_gradient(tool: str, sets: int, rows: int, groups: int) -> CostRow:
    """Time a gradient with effects treated as `tool` says: the least wall time of many."""
    device = jax.devices()[0]
    precision = "float64" if device.platform == "cpu" else "float32"
    model = gradient_model(rows, groups, tool)
    started = time.perf_counter()
    evaluate = gradient_of(model, tool, precision)
    compiled = time.perf_counter() - started
    seconds, cpu = _repeat(evaluate)
    return CostRow(
        "gradient",
        tool,
        1,
        rows,
        groups,
        compile_seconds=round(compiled, 2),
        seconds=float(f"{seconds:.4g}"),
        cpu_seconds=float(f"{cpu:.4g}"),
        peak_mb=round(peak_mb()),
        device=device.device_kind,
        precision=precision,
        versions=package_versions("hierjax", "jax", "jaxlib"),
    )


def _repeat(work: Callable[[], None]) -> tuple[float, float]:
    """Least wall seconds, and CPU seconds on average, of doing something again and again."""
    work()
    seconds: list[float] = []
    cpu_started = cpu_seconds()
    while len(seconds) < FEWEST or (sum(seconds) < SECONDS and len(seconds) < MOST):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), (cpu_seconds() - cpu_started) / len(seconds)
