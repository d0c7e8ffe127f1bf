"""Saved posteriors: bit-identical when loaded, proven, and never half-written."""

import dataclasses
import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
import xarray
from numpyro.distributions import constraints
from scipy import stats as scipy_stats

from hierjax import files, store, store_file
from hierjax.draws import FitInfo
from hierjax.errors import FileError
from hierjax.formula import formula
from hierjax.model import Model
from hierjax.trace import abstract_trace
from tests import models

SCHOOLS = {"y": models.SCHOOLS_Y, "sigma": models.SCHOOLS_SIGMA}
INFO = FitInfo(
    method="nuts",
    settings={"chains": 2, "draws": 5, "target_accept": 0.8, "dense_mass": False},
    seed=3,
    dtype="float64",
    effects={"theta": "noncentred"},
    seconds={"compile": 1.25, "run": 0.5},
    status=(0, 2),
    versions={"hierjax": "0.1.0"},
    trace={"elbo": (-3.5, 0.1)},
)


def schools(dtype="float64", **changes):
    """A model and made-up draws of it, two chains of five."""
    rng = np.random.default_rng(0)
    draws = {
        "mu": rng.normal(size=(2, 5)).astype(dtype),
        "tau": rng.exponential(size=(2, 5)).astype(dtype),
        "theta": rng.normal(size=(2, 5, 8)).astype(dtype),
    }
    stats = {
        "diverging": rng.random((2, 5)) < 0.5,
        "num_steps": rng.integers(0, 2**40, (2, 5)),
        "tree_depth": rng.integers(0, 10, (2, 5)).astype(np.int8),
        "energy": np.array([[np.nan, np.inf, -np.inf, -0.0, 5e-324]] * 2),
        "accept_prob": rng.random((2, 5)).astype(np.float32),
    }
    return Model(models.eight_schools, SCHOOLS | changes), draws, stats


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].shape == values.shape, name
        assert found[name].tobytes() == np.ascontiguousarray(values).tobytes(), name


@pytest.fixture
def saved(tmp_path):
    model, draws, stats = schools()
    return store.save(tmp_path / "schools.nc", model, draws, stats, INFO)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arrays_come_back_bit_by_bit(tmp_path, dtype):
    model, draws, stats = schools(dtype)
    info = dataclasses.replace(INFO, dtype=dtype)
    path = store.save(str(tmp_path / "schools.nc"), model, draws, stats, info)
    loaded_model, loaded_draws, loaded_stats, loaded_info = store.load(path, model)
    assert loaded_model is model
    assert_same(loaded_draws, draws)
    assert_same(loaded_stats, stats)
    assert loaded_info == info
    assert [file.name for file in tmp_path.iterdir()] == ["schools.nc"]


FRAME = pd.DataFrame(
    {
        "log radon": [0.1, -1.5, 2.25, 1 / 3, 1e-300, 0.5, -0.25, 1.0],
        "floor": [0, 1, 0, 1, 0, 0, 1, 0],
        "county": [
            "LAC QUI PARLE",
            "Åland",
            "a/b",
            "Åland",
            "a/b",
            "LAC QUI PARLE",
            "a/b",
            "Åland",
        ],
        "size": pd.Categorical(
            ["s", "l", "m", "s", "l", "m", "s", "l"], categories=["s", "m", "l"]
        ),
        "block": [10, 20, 10, 20, 10, 20, 10, 20],
        "not used": [None] * 8,
    }
)


def formula_model():
    text = "`log radon` ~ floor + size + (1 + floor | county) + (1 | block)"
    return formula(text, FRAME, priors={"sd": dist.HalfNormal(0.1), "b_floor": dist.Cauchy(0, 2)})


def made_up_draws(model, shape=(2, 6)):
    """Draws of every site of a formula model, inside its support; sampling its prior is slow."""
    rng = np.random.default_rng(0)
    draws = {}
    for site in abstract_trace(model.fn, model.data).sites.values():
        values = rng.normal(size=(*shape, *site.shape))
        if site.distribution == "LKJCholesky":
            values = np.tril(values) + 3 * np.eye(site.shape[-1])
            values /= np.linalg.norm(values, axis=-1, keepdims=True)
        elif site.kind == "latent" and site.support is not constraints.real:
            values = np.exp(values)
        if site.kind in ("latent", "deterministic"):
            draws[site.name] = values
    return draws


def test_formula_models_are_made_again_from_the_file(tmp_path):
    model = formula_model()
    draws = made_up_draws(model)
    path = store.save(tmp_path / "radon.nc", model, draws, {}, INFO)
    loaded, loaded_draws, stats, _ = store.load(path)
    assert stats == {}
    assert_same(loaded_draws, draws)
    assert loaded.name == model.name
    assert {k: list(v) for k, v in loaded.labels.items()} == {
        k: list(v) for k, v in model.labels.items()
    }
    pd.testing.assert_frame_equal(loaded.priors(), model.priors())
    assert jax.tree.structure(loaded.data) == jax.tree.structure(model.data)
    for found, expected in zip(
        jax.tree.leaves(loaded.data), jax.tree.leaves(model.data), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_arviz_and_xarray_read_the_file(saved):
    with xarray.open_datatree(saved, engine="h5netcdf") as tree:
        assert set(tree.children) >= {"posterior", "sample_stats", "observed_data"}
        assert tree["posterior"]["theta"].dims == ("chain", "draw", "school")


def test_log_joint_is_the_density_of_the_model():
    model, draws, _ = schools()
    flat = {name: values.reshape(10, *values.shape[2:]) for name, values in draws.items()}
    expected = (
        scipy_stats.norm.logpdf(flat["mu"], 0, 5)
        + scipy_stats.halfcauchy.logpdf(flat["tau"], 0, 5)
        + scipy_stats.norm.logpdf(flat["theta"], flat["mu"][:, None], flat["tau"][:, None]).sum(1)
        + scipy_stats.norm.logpdf(SCHOOLS["y"], flat["theta"], SCHOOLS["sigma"]).sum(1)
    )
    np.testing.assert_allclose(store.log_joint(model, flat), expected, rtol=1e-12)


# -- files that must be refused -------------------------------------------------------------------


@pytest.mark.faults
def test_every_flipped_bit_is_found(saved):
    whole = saved.read_bytes()
    model = schools()[0]
    rng = np.random.default_rng(1)
    for position in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(FileError, match=r"is damaged|no seal|not a posterior"):
            store.load(saved, model)
    saved.write_bytes(whole)
    store.load(saved, model)


@pytest.mark.faults
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(saved, kept):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(kept * len(whole))])
    message = "cut short" if kept else "not a posterior that hierjax saved"
    with pytest.raises(FileError, match=message):
        store.load(saved, schools()[0])


@pytest.mark.faults
def test_files_of_other_kinds_are_refused(tmp_path, saved):
    text = tmp_path / "summary.csv"
    text.write_text("a,b\n")
    with pytest.raises(FileError, match="not a NetCDF 4 file at all"):
        store.load(text)
    other = tmp_path / "other.nc"
    xarray.Dataset({"x": ("row", np.arange(3.0))}).to_netcdf(other, engine="h5netcdf")
    with pytest.raises(FileError, match="another program wrote it"):
        store.load(other)
    store_file.write_sealed(other, other.read_bytes())
    with pytest.raises(FileError, match="not a posterior that hierjax saved"):
        store.load(other)
    with pytest.raises(FileError, match="there is no such file"):
        store.load(tmp_path / "missing.nc")
    with pytest.raises(FileError, match="cannot be read"):
        store.load(tmp_path)


def tampered(path, change):
    """Write the file again, correctly sealed, after `change(tree, header)`."""
    with xarray.open_datatree(io.BytesIO(store_file.read_sealed(path)), engine="h5netcdf") as tree:
        tree.load()
    header = json.loads(tree["hierjax"]["header"].to_numpy().tobytes())
    change(tree, header)
    encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    node = tree["hierjax"].to_dataset().drop_vars("header")
    tree["hierjax"] = xarray.DataTree(node.assign(header=(("byte",), encoded)))
    store_file.write_sealed(path, tree.to_netcdf(engine="h5netcdf"))


@pytest.mark.faults
def test_a_newer_format_is_refused(saved):
    def newer(tree, header):
        header["format"] = 2
        header["info"]["versions"]["hierjax"] = "9.0"

    tampered(saved, newer)
    with pytest.raises(FileError, match=r"format 2, written by hierjax 9\.0.* Update hierjax"):
        store.load(saved, schools()[0])


@pytest.mark.faults
def test_one_changed_draw_is_refused_with_both_numbers(saved):
    tampered(saved, lambda tree, header: None)
    store.load(saved, schools()[0])  # writing again changes nothing by itself

    def nudge(tree, header):
        tree["posterior"]["theta"].values[0, 0, 3] += 0.01

    tampered(saved, nudge)
    message = r"chain 0, draw 0, .* was -[\d.]+ when saved and is -[\d.]+ now"
    with pytest.raises(FileError, match=message):
        store.load(saved, schools()[0])


@pytest.mark.faults
def test_other_data_are_refused(saved):
    other, _, _ = schools(y=SCHOOLS["y"] + 1e-3)
    with pytest.raises(FileError, match=r"draws are not of this model with these data"):
        store.load(saved, other)


def other_model(y, sigma):
    level = numpyro.sample("level", dist.Normal(0, 5))
    numpyro.sample("y", dist.Normal(level, jnp.asarray(sigma)).to_event(1), obs=y)


@pytest.mark.faults
def test_another_model_is_refused(saved):
    with pytest.raises(FileError, match=r"another model \('eight_schools'\).*\['level'\]"):
        store.load(saved, Model(other_model, SCHOOLS))


@pytest.mark.faults
def test_a_python_model_must_be_given(saved):
    with pytest.raises(FileError, match=r"Python model 'eight_schools'.*model=\.\.\."):
        store.load(saved)


@pytest.mark.faults
def test_draws_without_all_sites_have_no_proof_and_still_load(tmp_path):
    model, draws, stats = schools()
    del draws["theta"]
    path = store.save(tmp_path / "hyper.nc", model, draws, stats, INFO)
    assert_same(store.load(path, model)[1], draws)


# -- writing --------------------------------------------------------------------------------------


@pytest.fixture
def target(tmp_path):
    """A folder with an older file that must survive."""
    path = tmp_path / "posterior.nc"
    path.write_bytes(b"older")
    return path


@pytest.mark.faults
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_leaves_the_older_file(target, monkeypatch, place):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, place, full)
    with pytest.raises(FileError, match=r"cannot be written \(No space left on device\)"):
        store_file.write_sealed(target, b"newer")
    assert target.read_bytes() == b"older"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.faults
def test_an_interrupt_leaves_the_older_file(target, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store_file.write_sealed(target, b"newer")
    assert target.read_bytes() == b"older"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.faults
def test_a_real_limit_on_file_size_leaves_the_older_file(target):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(FileError, match=r"cannot be written \(File too large\)"):
            store_file.write_sealed(target, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_bytes() == b"older"
    assert list(target.parent.iterdir()) == [target]


KILLED = """
import os, sys, time
from pathlib import Path
from hierjax import store_file
def stop(*arguments):
    print("written", flush=True)
    time.sleep(60)
setattr(os, sys.argv[2], stop)
store_file.write_sealed(Path(sys.argv[1]), bytes(100_000))
"""


@pytest.mark.faults
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_killed_process_leaves_the_older_file(target, place):
    command = [sys.executable, "-c", KILLED, str(target), place]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL)
    assert target.read_bytes() == b"older"
    store_file.write_sealed(target, b"newer")
    assert target.read_bytes().startswith(b"newer")


@pytest.mark.faults
def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match="No such file or directory"):
        store_file.write_sealed(tmp_path / "missing" / "posterior.nc", b"new")
