"""Files from elsewhere, whole and well sealed, are read; nothing that is in them is run."""

import hashlib
import io
import json
import os
import pickle

import numpy as np
import numpyro.distributions as dist
import pytest
import xarray

from hierjax import store, store_file
from hierjax.checkpoint import MAGIC, Checkpoint
from hierjax.cli_table import read_table
from hierjax.draws import FitInfo
from hierjax.errors import FileError
from hierjax.formula import formula

pytestmark = pytest.mark.faults
INFO = FitInfo(
    method="nuts", settings={}, seed=0, dtype="float64", effects={}, seconds={}, status=(0,),
    versions={"hierjax": "0.1.0"}, trace={},
)  # fmt: skip
FRAME = {"y": np.arange(8.0), "x": np.arange(8.0) ** 2, "g": list("aabbccdd")}


class Attack:
    """Makes a file where it is unpickled."""

    def __init__(self, made):
        self.made = made

    def __reduce__(self):
        return open, (os.fspath(self.made), "w")


def test_the_attack_is_one(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "made"))).close()
    assert (tmp_path / "made").exists()


def test_pickles_in_a_checkpoint_are_not_read(tmp_path):
    buffer = io.BytesIO()
    header = np.frombuffer(json.dumps([["status"]]).encode(), np.uint8)
    harm = np.array([Attack(tmp_path / "made")], dtype=object)
    np.savez(buffer, header, harm)
    content = buffer.getvalue()
    (tmp_path / "0.chunk").write_bytes(MAGIC + hashlib.sha256(content).digest() + content)
    with pytest.raises(FileError, match=r"no piece that hierjax saved \(Object arrays"):
        Checkpoint(tmp_path).load("0.chunk")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["posterior.nc", "table.csv", "table.parquet", "table.csv.gz"])
def test_pickles_under_another_name_are_not_read(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Attack(tmp_path / "made")))
    with pytest.raises(FileError):
        store.load(path) if name.endswith(".nc") else read_table(str(path))
    assert not (tmp_path / "made").exists()


HARMFUL = {
    "formula": lambda formula, made: formula.update(
        formula=f"y ~ I(__import__('os').system('touch {made}')) + (1 | g)"
    ),
    "prior": lambda formula, made: formula["priors"].update(
        b={"class": "os.system", "params": {"command": f"touch {made}"}}
    ),
    "prior of a helper": lambda formula, made: formula["priors"].update(
        b={"class": "biject_to", "params": {"constraint": f"touch {made}"}}
    ),
    "family": lambda formula, made: formula.update(family=f"open({str(made)!r}, 'w')"),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_headers_of_posteriors_are_words_and_not_code(what, tmp_path):
    model = formula("y ~ x + (1 | g)", FRAME, priors={"b": dist.Normal(0.0, 2.0)})
    path = store.save(tmp_path / "a.nc", model, {"sigma": np.ones((1, 4))}, {}, INFO)
    content = io.BytesIO(store_file.read_sealed(path))
    with xarray.open_datatree(content, engine="h5netcdf") as tree:
        tree.load()
    header = json.loads(tree["hierjax"]["header"].to_numpy().tobytes())
    HARMFUL[what](header["formula"], tmp_path / "made")
    encoded = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    node = tree["hierjax"].to_dataset().drop_vars("header")
    tree["hierjax"] = xarray.DataTree(node.assign(header=(("byte",), encoded)))
    store_file.write_sealed(path, tree.to_netcdf(engine="h5netcdf"))
    with pytest.raises(FileError, match="cannot make its model again"):
        store.load(path)
    assert not (tmp_path / "made").exists()
