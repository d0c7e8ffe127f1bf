"""Fit one data set with its rows on two devices, in a process that has two; write what came out."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import hierjax as hj
from hierjax import programs
from hierjax.row_sharding import Devices

ROWS = 1201  # two devices have 600.5 each


def rows() -> dict[str, Any]:
    """Poisson counts of groups of unequal size, on an odd number of rows."""
    generator = np.random.default_rng(0)
    group = np.sort(generator.integers(0, 12, ROWS) * generator.integers(0, 2, ROWS))
    x = generator.normal(size=ROWS)
    rate = np.exp(0.3 + 0.2 * x + 0.4 * generator.normal(size=12)[group])
    return {"y": generator.poisson(rate), "x": x, "g": [f"g{place:02d}" for place in group]}


def counts() -> hj.Model:
    """Return a model of the counts."""
    return hj.formula("y ~ x + (1 | g)", rows(), family="poisson")


def measured() -> hj.Model:
    """Return a model of their roots, as if they were normal."""
    table = rows()
    return hj.formula("y ~ x + (1 | g)", {**table, "y": np.sqrt(table["y"])})


SHORT = hj.NUTS(chains=2, warmup=20, draws=10)
RUNS = {
    "recentred": (counts, {"method": SHORT}),
    "centred": (counts, {"method": SHORT, "effects": "centred"}),
    "integrated": (measured, {"method": "laplace"}),
}


def fit(name: str, *, shard_rows: bool) -> dict[str, np.ndarray]:
    """Draws of a run."""
    model, options = RUNS[name]
    post = hj.fit(model(), shard_rows=shard_rows, progress=False, **options)
    return dict(post.draws)


def main(out: Path) -> None:
    """Fit everything; keep the sizes of what each device held, and the collectives of programs."""
    placed, original = [], Devices.place

    def place(self: Devices, arrays: object) -> tuple[jax.Array, ...]:
        found = original(self, arrays)
        placed.extend([shard.data.shape for shard in leaf.addressable_shards] for leaf in found)
        return found

    Devices.place = place
    found = {}
    for name in RUNS:
        for site, values in fit(name, shard_rows=True).items():
            found[f"{name} {site}"] = values
    kept = programs.PROGRAMS._entries.values()
    texts = [each.advance.as_text() for each in kept if isinstance(each, programs.Compiled)]
    halves = sum(shapes == [(ROWS // 2 + 1,)] * 2 for shapes in placed)
    reduced = sum("all-reduce" in text for text in texts)
    np.savez(out, devices=jax.local_device_count(), halves=halves, reduced=reduced, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
