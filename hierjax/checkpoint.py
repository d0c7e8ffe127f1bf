"""Finished pieces of work on disk: what was interrupted goes on where it stopped.

A checkpoint is a folder with a JSON file, which says what is being computed (model, data, settings,
versions), and one file for each finished piece: a magic word, the SHA-256 of the rest, and an npz
archive. Files are written whole or not at all, so that a process killed at any moment loses at most
the piece it was working on; and because a piece is a pure function of what came before, going on
gives the same draws.
"""

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.arguments import Arguments
from hierjax.density import make_density
from hierjax.errors import FileError
from hierjax.files import write_whole
from hierjax.model import Model
from hierjax.versions import installed_versions

MAGIC = b"hierjax chunk 1\n"

Identity = Mapping[str, str]
Arrays = Mapping[tuple[str, ...], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A folder of finished pieces that belong to one piece of work."""

    folder: Path

    @classmethod
    def open(cls, path: str | Path, work: str, identity: Identity) -> "Checkpoint":
        """Open a folder for some work, or make it.

        Parameters
        ----------
        path
            The folder.
        work
            What is computed: "fit" or "batch", the name of the JSON file.
        identity
            What makes it what it is, as short texts that can be compared.

        Raises
        ------
        FileError
            The folder belongs to other work (the message says in what they differ), holds other
            things, or cannot be written.
        """
        folder = Path(path)
        manifest = folder / f"{work}.json"
        if manifest.exists():
            _check(manifest, work, identity)
            return cls(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileError(
                f"{folder}: is no checkpoint of a {work}, and not an empty folder. Give another "
                "path."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{folder}: cannot be made ({error.strerror or error}).") from error
        write_whole(manifest, [json.dumps(dict(identity), indent=1).encode()])
        return cls(folder)

    def load(self, name: str) -> Arrays | None:
        """Read a finished piece; None if it is not there.

        Raises
        ------
        FileError
            The file was cut short or changed, or holds other things than arrays of numbers.
        """
        path = self.folder / name
        if not path.exists():
            return None
        whole = path.read_bytes()
        seal, content = whole[len(MAGIC) : len(MAGIC) + 32], whole[len(MAGIC) + 32 :]
        if not whole.startswith(MAGIC) or hashlib.sha256(content).digest() != seal:
            raise FileError(
                f"{path}: is damaged: its bytes do not have the checksum that they were saved "
                "with. Delete this file, and what was in it is computed again."
            )
        try:
            return _unpacked(content)
        except ValueError as error:  # pickled objects, which are never made
            raise FileError(f"{path}: is no piece that hierjax saved ({error}).") from error

    def save(self, name: str, arrays: Arrays) -> None:
        """Write a finished piece, whole or not at all."""
        content = _packed(arrays)
        seal = hashlib.sha256(content).digest()
        write_whole(self.folder / name, [MAGIC, seal, content])


def identity_of(model: Model, settings: Mapping[str, Any], data: Identity) -> Identity:
    """Say what makes a computation what it is: model, settings, data, versions and device."""
    versions = installed_versions().items()
    return {
        **{name: str(value) for name, value in settings.items()},
        "model": f"{model.name} {_model_digest(model)}",
        **data,
        "versions": ", ".join(f"{name} {number}" for name, number in versions),
        "device": jax.default_backend(),
    }


def data_digest(datasets: Iterable[Mapping[str, Any] | str]) -> str:
    """Digest of arguments of models, or of texts in their place."""
    digest = hashlib.blake2b(digest_size=8)
    for data in datasets:
        if isinstance(data, str):
            digest.update(data.encode())
            continue
        arguments = Arguments.of(data)
        digest.update(f"{sorted(data)} {arguments.static_values()}".encode())
        for leaf in arguments.arrays(data):
            array = np.asarray(leaf)
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _model_digest(model: Model) -> str:
    """Digest of what the model computes: its traced log density on its own data."""
    arguments = Arguments.of(model.data)
    density = make_density(model.fn, arguments, dict(model.data))
    position = jnp.zeros(density.size)
    traced = jax.make_jaxpr(density.log_density)(position, arguments.arrays(model.data))
    digest = hashlib.blake2b(digest_size=8)
    digest.update(re.sub(r"0x[0-9a-f]+", "", str(traced)).encode())
    for constant in traced.consts:
        if not jnp.issubdtype(jnp.result_type(constant), jax.dtypes.extended):
            digest.update(np.asarray(constant).tobytes())
    return digest.hexdigest()


def _check(manifest: Path, work: str, identity: Identity) -> None:
    try:
        stored = json.loads(manifest.read_text())
    except (OSError, ValueError) as error:
        raise FileError(f"{manifest}: cannot be read ({error}). Give another path.") from error
    for name in [*identity, *(name for name in stored if name not in identity)]:
        if stored.get(name) != identity.get(name):
            raise FileError(
                f"{manifest.parent}: belongs to another {work}: {name} was {stored.get(name)!r} "
                f"and is {identity.get(name)!r} now. Give another path, or delete the folder."
            )


def _packed(arrays: Arrays) -> bytes:
    header = np.frombuffer(json.dumps([list(name) for name in arrays]).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, header, *(np.asarray(values) for values in arrays.values()))
    return buffer.getvalue()


def _unpacked(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        names = json.loads(file["arr_0"].tobytes())
        return {tuple(name): file[f"arr_{place + 1}"] for place, name in enumerate(names)}
