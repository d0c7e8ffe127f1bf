"""shard_rows: the rows of one data set are divided among devices, and the posterior is the same."""

import os
import subprocess
import sys

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import hierjax as hj
from hierjax.errors import ModelError
from tests import models
from tests.row_sharding_child import RUNS, fit

SHORT = hj.NUTS(chains=2, warmup=20, draws=10)


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    out = tmp_path_factory.mktemp("rows") / "draws.npz"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    command = [sys.executable, "-m", "tests.row_sharding_child", str(out)]
    subprocess.run(command, env={**os.environ, "XLA_FLAGS": flags}, check=True, timeout=500)
    found = dict(np.load(out))
    assert found.pop("devices") == 2
    return found


@pytest.mark.slow
def test_each_device_holds_half_of_the_rows_and_sums_are_added(divided):
    assert divided["halves"] > 6
    assert divided["reduced"] >= 2  # the normal response was summed before


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_draws_are_those_of_one_device(divided, name):
    """XLA sums in another order; thirty transitions make the rounding grow."""
    for site, values in fit(name, shard_rows=False).items():
        np.testing.assert_allclose(divided[f"{name} {site}"], values, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(jax.local_device_count() > 1, reason="there are several devices")
def test_on_one_device_nothing_changes():
    model = hj.Model(models.known_variances, models.known_variances_data(0))
    one, two = (
        hj.fit(model, method=SHORT, effects="centred", shard_rows=shard, progress=False)
        for shard in (False, True)
    )
    for site, values in one.draws.items():
        np.testing.assert_array_equal(values, two.draws[site])


def one_number(y):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def test_a_model_without_rows_cannot_be_divided():
    model = hj.Model(one_number, {"y": np.asarray(0.3)})
    with pytest.raises(ModelError, match="no observed site has an axis"):
        hj.fit(model, method=SHORT, shard_rows=True, progress=False)
