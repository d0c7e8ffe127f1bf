"""Posteriors in one NetCDF file that proves itself when it is loaded.

The file is the tree of `hierjax.export`, readable by ArviZ and by every NetCDF program, with one
more group, `hierjax`: a JSON header (format, model, how the fit was made, log joint densities at a
few of the draws) and, for a formula model, the columns of its data. There is no pickle in it.

Loading checks the seal of the file, makes the model again, computes the log joint density at the
stored draws, and refuses the file if the numbers differ: draws can then not be those of the model.

Format 1 (0.1.0): the first.
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.infer.util import log_density

from hierjax.arguments import Arguments
from hierjax.draws import FitInfo
from hierjax.errors import FileError, HierjaxError
from hierjax.export import to_datatree
from hierjax.model import Model
from hierjax.names import latent_sites
from hierjax.store_file import read_sealed, write_sealed

if TYPE_CHECKING:
    import xarray

FORMAT = 1
GROUP = "hierjax"
NUM_PROOFS = 4
TOLERANCE = {"float64": 1e-6, "float32": 1e-3}

Arrays = Mapping[str, np.ndarray]


def save(path: str | Path, model: Model, draws: Arrays, stats: Arrays, info: FitInfo) -> Path:
    """Write a posterior to one NetCDF file, whole or not at all.

    Parameters
    ----------
    path
        File to write; an older one is replaced in one step.
    model, draws, stats, info
        The parts of a posterior. A formula model is stored with its data; of any other model only
        the name is stored, since a Python function cannot be stored safely.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    FileError
        The file cannot be written; an older one at `path` is as it was.
    """
    path = Path(path)
    tree = to_datatree(model, draws, stats, info)
    text, numbers = _frame(model)
    header = {
        "format": FORMAT,
        "model": model.name,
        "formula": None if model.origin is None else model.origin.describe(),
        "text_columns": text,
        "info": dataclasses.asdict(info),
        "arrays": {
            group: {name: [values.dtype.str, *values.shape] for name, values in arrays.items()}
            for group, arrays in (("posterior", _host(draws)), ("sample_stats", _host(stats)))
        },
        "proof": _proof(model, draws, info.dtype),
    }
    tree[GROUP] = _to_node(header, numbers)
    write_sealed(path, tree.to_netcdf(engine="h5netcdf"))
    return path


def load(
    path: str | Path, model: Model | None = None
) -> tuple[Model, dict[str, np.ndarray], dict[str, np.ndarray], FitInfo]:
    """Read a posterior that `save` wrote, and check that it belongs to its model.

    Parameters
    ----------
    path
        The file.
    model
        The model that was fitted, with its data. Not needed for formula models.

    Returns
    -------
    model, draws, stats, info
        Arrays have the types, shapes and bits that they were saved with.

    Raises
    ------
    FileError
        There is no such file, it is damaged or of another kind or version, the model is missing, or
        the log densities of model and file differ.
    """
    import xarray

    path = Path(path)
    content = io.BytesIO(read_sealed(path))
    with xarray.open_datatree(content, engine="h5netcdf") as tree:
        tree.load()
    if GROUP not in tree.children:
        raise FileError(f"{path}: is not a posterior that hierjax saved.")
    header = json.loads(tree[GROUP]["header"].to_numpy().tobytes())
    _check_format(path, header)
    draws = _arrays(tree, "posterior", header)
    stats = _arrays(tree, "sample_stats", header)
    info = _info(header["info"])
    if model is None:
        model = _rebuild(path, tree, header)
    _check_proof(path, model, draws, header, info.dtype)
    return model, draws, stats, info


def log_joint(model: Model, values: Arrays, dtype: str = "float64") -> np.ndarray:
    """Log joint density of a model at several values of its latent sites.

    Parameters
    ----------
    model
        The model with its data.
    values
        Every latent site -> (n, *shape), in the constrained space; other sites are ignored.
    dtype
        Precision, "float64" or "float32".

    Returns
    -------
    Array (n,), without the log-Jacobian of any transformation.
    """
    arguments = Arguments.of(model.data)
    seeded = handlers.seed(model.fn, rng_seed=0)

    def at_one(latents: dict[str, Any], arrays: tuple[Any, ...]) -> Any:
        return log_density(seeded, (), arguments.rebuild(arrays), latents)[0]

    with jax.enable_x64(dtype == "float64"):
        latents = {site: jnp.asarray(values[site]) for site in latent_sites(model)}
        arrays = tuple(map(jnp.asarray, arguments.arrays(model.data)))
        return np.asarray(jax.jit(jax.vmap(at_one, in_axes=(0, None)))(latents, arrays))


def _proof(model: Model, draws: Arrays, dtype: str) -> dict[str, Any]:
    """Places (chain, draw) and the log joint densities there; none if latent sites were dropped."""
    if not latent_sites(model) <= set(draws):
        return {"places": [], "log_joint": []}
    num_chains, num_draws = next(iter(draws.values())).shape[:2]
    fractions = np.linspace(0, 1, NUM_PROOFS)
    chains = np.round(fractions * (num_chains - 1)).astype(int)
    places = np.stack([chains, np.round(fractions * (num_draws - 1)).astype(int)], axis=1)
    numbers = log_joint(model, _at(draws, places), dtype)
    return {"places": places.tolist(), "log_joint": [float(number) for number in numbers]}


def _at(draws: Arrays, places: np.ndarray) -> dict[str, np.ndarray]:
    return {site: np.asarray(values)[places[:, 0], places[:, 1]] for site, values in draws.items()}


def _check_proof(
    path: Path, model: Model, draws: Arrays, header: Mapping[str, Any], dtype: str
) -> None:
    proof = header["proof"]
    if not proof["places"]:
        return
    missing = latent_sites(model) - set(draws)
    if missing:
        raise FileError(
            f"{path}: holds draws of another model ({header['model']!r}): it has none of "
            f"{sorted(missing)}, which {model.name!r} samples."
        )
    stored = np.array(proof["log_joint"])
    try:
        found = log_joint(model, _at(draws, np.array(proof["places"])), dtype)
    except (TypeError, ValueError) as error:
        raise FileError(
            f"{path}: the draws of {header['model']!r} do not fit the model {model.name!r}: {error}"
        ) from error
    close = np.isclose(found, stored, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], equal_nan=True)
    if not close.all():
        first = int(np.argmin(close))
        chain, draw = proof["places"][first]
        raise FileError(
            f"{path}: the draws are not of this model with these data: at chain {chain}, draw "
            f"{draw}, the log joint density was {stored[first]:.10g} when saved and is "
            f"{found[first]:.10g} now. Give the model and data that were fitted."
        )


def _info(stored: Mapping[str, Any]) -> FitInfo:
    """Rebuild `FitInfo` from JSON, which knows neither tuples nor arrays."""
    trace = {name: tuple(values) for name, values in stored["trace"].items()}
    given = stored.get("estimates", {}).items()
    estimates = {name: np.array(values, stored["dtype"]) for name, values in given}
    changed = {"status": tuple(stored["status"]), "trace": trace, "estimates": estimates}
    return FitInfo(**{**stored, **changed})


def _check_format(path: Path, header: Mapping[str, Any]) -> None:
    if header["format"] > FORMAT:
        version = header["info"]["versions"].get("hierjax", "a newer version")
        raise FileError(
            f"{path}: has format {header['format']}, written by hierjax {version}; this hierjax "
            f"reads formats up to {FORMAT}. Update hierjax to load it."
        )


def _frame(model: Model) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """Columns of a formula model's data: text as lists, numbers as arrays."""
    frame = getattr(model.origin, "frame", {})
    text = {n: [str(v) for v in col] for n, col in frame.items() if col.dtype.kind in "OUT"}
    return text, {name: column for name, column in frame.items() if name not in text}


def _to_node(header: Mapping[str, Any], numbers: Arrays) -> "xarray.DataTree":
    import xarray

    encoded = json.dumps(header, default=_jsonable).encode()
    variables: dict[str, Any] = {
        f"column_{place}": (("row",), values, {"name": name})
        for place, (name, values) in enumerate(numbers.items())
    }
    variables["header"] = (("byte",), np.frombuffer(encoded, dtype=np.uint8))
    return xarray.DataTree(xarray.Dataset(variables))


def _jsonable(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def _rebuild(path: Path, tree: "xarray.DataTree", header: Mapping[str, Any]) -> Model:
    from hierjax.formula.build import rebuild

    if header["formula"] is None:
        raise FileError(
            f"{path}: holds draws of the Python model {header['model']!r}, and files do not hold "
            "Python functions. Load it with the model that was fitted: load(path, model=...)."
        )
    columns = [node for name, node in tree[GROUP].data_vars.items() if name != "header"]
    frame = {column.attrs["name"]: column.to_numpy() for column in columns}
    frame |= {name: np.array(values) for name, values in header["text_columns"].items()}
    try:
        return rebuild(header["formula"], frame)
    except HierjaxError as error:
        raise FileError(
            f"{path}: this version of hierjax cannot make its model again: {error}"
        ) from error


def _arrays(
    tree: "xarray.DataTree", group: str, header: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Arrays of a group under their own names, in the order in which they were saved."""
    if group not in tree.children:
        return {}
    found = {v.attrs["name"]: v.to_numpy() for v in tree[group].data_vars.values()}
    return {
        name: found[name].astype(kind, copy=False).reshape(shape)
        for name, (kind, *shape) in header["arrays"][group].items()
    }


def _host(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in arrays.items()}
