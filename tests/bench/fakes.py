"""A tiny problem and tools that do what a test wants, for a child process to import."""

import dataclasses
import os
import signal
import time

import numpy as np
import pandas as pd

from hierjax.bench.tools.base import Answer, NotExpressibleError, NotInstalledError


@dataclasses.dataclass(frozen=True)
class Tiny:
    parameters: tuple[str, ...] = ("a", "cor_g")

    def table(self, *, new=False):
        return pd.DataFrame({"y": [1.0, 2.0]})


def draws(seed, settings):
    generator = np.random.default_rng(seed)
    size = (settings.chains, settings.draws)
    correlation = np.broadcast_to(np.eye(2), (*size, 2, 2)).copy()
    correlation[..., 1, 0] = generator.normal(size=size)
    return {"a": generator.normal(3.0, 2.0, size=(*size, 2)), "cor_g": correlation}


@dataclasses.dataclass(frozen=True)
class Fake:
    does: str
    imports: tuple[str, ...] = ("json", "nosuchpackage")
    compiles_in_run: bool = False

    def versions(self):
        if self.does == "not installed":
            raise NotInstalledError("pip install it")
        return {"fake": "1.0"}

    def prepare(self, problem, table, settings):
        if self.does == "not expressible":
            raise NotExpressibleError("no such thing")
        return lambda table, seed: self.run(seed, settings)

    def run(self, seed, settings):
        if self.does == "error":
            raise ValueError("no | way\nsecond line")
        if self.does == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "hang":
            time.sleep(600.0)
        found = draws(seed, settings)
        if self.does == "nan":
            found["a"][0, 0, 0] = np.nan
        if self.does == "estimate":
            point = {site: values[:1, :1] for site, values in found.items()}
            return Answer(point, estimate=True)
        return Answer(found, divergences=1, gradients=20_000)


PROBLEMS = {"tiny": Tiny()}
KINDS = (
    "good", "error", "crash", "hang", "nan", "estimate", "not installed", "not expressible",
)  # fmt: skip
TOOLS = {kind: Fake(kind) for kind in KINDS}
OPTIONS = {
    "problems": "tests.bench.fakes:PROBLEMS",
    "tools": "tests.bench.fakes:TOOLS",
    "seed": 1,
    "settings": {"chains": 2, "warmup": 1, "draws": 400},
}
