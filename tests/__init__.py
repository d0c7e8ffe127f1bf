"""Tests mirror the package; `pytest -q` runs the fast ones, `pytest -q -m slow` the others."""

import os

# Two thirds of the time of these tests is compilation. The programs of `hierjax.fit` are compiled
# with this option anyway (hierjax/compiler.py); here it holds for every operation.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
