"""Batches on several devices, several processes and a cluster give the draws of one device."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.batch.child import draws_of, fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone():
    return draws_of(fit())


def start(out, devices, *arguments):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "tests.batch.child", str(out), *map(str, arguments)]
    return subprocess.Popen(command, env=environment)


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    out = tmp_path_factory.mktemp("two") / "two.npz"
    assert start(out, 2).wait(300) == 0
    found = np.load(out)
    assert (found["local"], found["all"]) == (2, 2)
    return found["draws"]


def test_two_devices(alone, two_devices):
    """XLA rounds otherwise in a program for two devices; 120 transitions make that grow."""
    np.testing.assert_allclose(two_devices, alone, rtol=1e-4)


def test_two_processes_of_two_devices_each(two_devices, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    outs = [tmp_path / "first.npz", tmp_path / "second.npz"]
    children = [start(out, 2, address, place) for place, out in enumerate(outs)]
    assert [child.wait(300) for child in children] == [0, 0]
    for out in outs:
        found = np.load(out)
        assert (found["local"], found["all"]) == (2, 4)
        np.testing.assert_array_equal(found["draws"], two_devices)


def test_a_dask_cluster_of_two_workers_one_of_which_is_killed(alone, tmp_path):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        pids = sorted(client.run(os.getpid).values())
        killed = []

        def kill_one_at_work():
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and not list((tmp_path / "batch").glob("*.chunk")):
                time.sleep(0.05)
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

        killer = threading.Thread(target=kill_one_at_work)
        killer.start()
        batch = fit(executor=client.get_executor(), checkpoint=tmp_path / "batch")
        killer.join()
    assert killed
    np.testing.assert_array_equal(draws_of(batch), alone)
