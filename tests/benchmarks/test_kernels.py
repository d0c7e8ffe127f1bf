"""The comparison of NUTS kernels, and that of numbers of groups: what their tables say."""

import pytest

from benchmarks import kernels, many_groups


def test_a_leapfrog_counts_warm_up_as_sampling():
    leapfrogs = 7 * kernels.CHAINS * kernels.DRAWS
    row = kernels.Row("radon", "hierjax", 12.0, 2.1, leapfrogs, 840.0, 0.5, {})
    steps = 7 * kernels.CHAINS * (kernels.WARMUP + kernels.DRAWS)
    assert row.microseconds == pytest.approx(2.1e6 / steps)
    assert "| radon | hierjax | 9.9 | 2.10 | 50 | 7.0 | 400 |" in kernels.table([row])


def test_the_ratio_is_that_of_the_slowest_gradient_to_the_fastest():
    rows = [
        many_groups.Row("cpu", "float32", 1000, groups, "centred", time, {})
        for groups, time in ((8, 1.5), (48, 0.5), (900, 1.0))
    ]
    assert many_groups.table(rows).splitlines()[-1].split("|")[-2].strip() == "3.0"


@pytest.mark.slow
@pytest.mark.parametrize("kernel", kernels.KERNELS)
def test_a_kernel_makes_a_row(kernel, monkeypatch):
    monkeypatch.setattr(kernels, "WARMUP", 40)
    monkeypatch.setattr(kernels, "DRAWS", 40)
    row = kernels.measure("sleepstudy", kernel)
    assert row.leapfrogs >= 40 * kernels.CHAINS
    assert 0.0 < row.cpu_seconds < row.first_cpu_seconds
    assert row.effective > 10.0


@pytest.mark.slow
@pytest.mark.parametrize("effects", many_groups.TREATMENTS)
def test_few_groups_make_a_row(effects):
    row = many_groups.measure(500, 8, effects, "float32")
    assert row.gradient > 0.0
