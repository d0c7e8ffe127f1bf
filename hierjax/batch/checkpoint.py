"""Finished chunks on disk: a batch that was interrupted goes on where it stopped.

The folder holds `batch.json`, which says what the batch is (model, data, settings, versions), and
one file for each finished chunk: a magic word, the SHA-256 of the rest, and an npz archive. Files
are written whole or not at all, so that a process killed at any moment loses at most the chunk it
was working on; and because a chunk is a pure function of its inputs, going on gives the same draws.
"""

import dataclasses
import hashlib
import importlib.metadata
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierjax.arguments import Arguments
from hierjax.batch.chunks import Chunk
from hierjax.density import make_density
from hierjax.errors import FileError, HierjaxError
from hierjax.files import write_whole
from hierjax.fit import VERSIONED
from hierjax.model import Model

MAGIC = b"hierjax chunk 1\n"
MANIFEST = "batch.json"
PARTS = ("sites", "stats", "trace", "summaries")

Identity = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A folder of finished chunks that belong to one batch."""

    folder: Path

    @classmethod
    def open(cls, path: str | Path, identity: Identity) -> "Checkpoint":
        """Open a folder for a batch, or make it.

        Raises
        ------
        FileError
            The folder belongs to another batch (the message says in what they differ), holds other
            things, or cannot be written.
        """
        folder = Path(path)
        manifest = folder / MANIFEST
        if manifest.exists():
            _check(manifest, identity)
            return cls(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FileError(
                f"{folder}: is no checkpoint of hierjax.fit_many, and not an empty folder. Give "
                "another path."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{folder}: cannot be made ({error.strerror or error}).") from error
        write_whole(manifest, [json.dumps(dict(identity), indent=1).encode()])
        return cls(folder)

    def load(self, name: str) -> Chunk | None:
        """Read a finished chunk; None if it is not there.

        Raises
        ------
        FileError
            The file was cut short or changed.
        """
        path = self.folder / name
        if not path.exists():
            return None
        whole = path.read_bytes()
        seal, content = whole[len(MAGIC) : len(MAGIC) + 32], whole[len(MAGIC) + 32 :]
        if not whole.startswith(MAGIC) or hashlib.sha256(content).digest() != seal:
            raise FileError(
                f"{path}: is damaged: its bytes do not have the checksum that they were saved "
                "with. Delete this file, and its data sets are fitted again."
            )
        return _unpacked(content)

    def save(self, name: str, chunk: Chunk) -> None:
        """Write a finished chunk, whole or not at all."""
        content = _packed(chunk)
        seal = hashlib.sha256(content).digest()
        write_whole(self.folder / name, [MAGIC, seal, content])


def chunk_name(places: Sequence[int], attempt: int, lanes: int) -> str:
    """Name of the file of a chunk: which data sets, which attempt, how many at a time."""
    digest = hashlib.blake2b(np.asarray(places, np.int64).tobytes(), digest_size=8).hexdigest()
    return f"{min(places):07d}-{len(places)}-{attempt}-{lanes}-{digest}.chunk"


def identity_of(
    model: Model, read: Sequence[Model | HierjaxError], settings: Mapping[str, Any]
) -> Identity:
    """Say what makes a batch what it is, as short texts that can be compared."""
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {
        **{name: str(value) for name, value in settings.items()},
        "model": f"{model.name} {_model_digest(model)}",
        "data": f"{len(read)} data sets {_data_digest(read)}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "device": jax.default_backend(),
    }


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


def _data_digest(read: Sequence[Model | HierjaxError]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for each in read:
        if not isinstance(each, Model):
            digest.update(str(each).encode())
            continue
        paths, _ = jax.tree_util.tree_flatten_with_path(dict(each.data))
        for path, leaf in paths:
            array = np.asarray(leaf)
            digest.update(f"{path} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _check(manifest: Path, identity: Identity) -> None:
    try:
        stored = json.loads(manifest.read_text())
    except (OSError, ValueError) as error:
        raise FileError(f"{manifest}: cannot be read ({error}). Give another path.") from error
    for name in [*identity, *(name for name in stored if name not in identity)]:
        if stored.get(name) != identity.get(name):
            raise FileError(
                f"{manifest.parent}: belongs to another batch: {name} was {stored.get(name)!r} and "
                f"is {identity.get(name)!r} now. Give another path, or delete the folder."
            )


def _packed(chunk: Chunk) -> bytes:
    arrays: list[np.ndarray] = [np.asarray(chunk.status)]
    names: list[tuple[str, str]] = []
    for part in PARTS:
        for name, values in getattr(chunk, part).items():
            names.append((part, name))
            arrays.append(np.asarray(values))
    header = np.frombuffer(json.dumps(names).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, header, *arrays)
    return buffer.getvalue()


def _unpacked(content: bytes) -> Chunk:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        names = json.loads(file["arr_0"].tobytes())
        status, *arrays = (file[f"arr_{place + 1}"] for place in range(len(names) + 1))
    parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
    for (part, name), values in zip(names, arrays, strict=True):
        parts[part][name] = values
    return Chunk(status=status, **parts)
