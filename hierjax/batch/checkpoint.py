"""Finished chunks of a batch on disk: their names, and how they become arrays and back."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hierjax.batch.chunks import Chunk
from hierjax.checkpoint import Checkpoint, Identity, data_digest, identity_of
from hierjax.errors import HierjaxError
from hierjax.model import Model

PARTS = ("sites", "stats", "trace", "summaries")
STATUS = ("status",)


def chunk_name(places: Sequence[int], attempt: int, lanes: int) -> str:
    """Name of the file of a chunk: which data sets, which attempt, how many at a time."""
    digest = hashlib.blake2b(np.asarray(places, np.int64).tobytes(), digest_size=8).hexdigest()
    return f"{min(places):07d}-{len(places)}-{attempt}-{lanes}-{digest}.chunk"


def batch_identity(
    model: Model, read: Sequence[Model | HierjaxError], settings: Mapping[str, Any]
) -> Identity:
    """Say what makes a batch what it is."""
    digest = data_digest(each.data if isinstance(each, Model) else str(each) for each in read)
    return identity_of(model, settings, {"data": f"{len(read)} data sets {digest}"})


def load_chunk(checkpoint: Checkpoint, name: str) -> Chunk | None:
    """Read a finished chunk; None if it is not there."""
    arrays = checkpoint.load(name)
    if arrays is None:
        return None
    parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
    for (part, *rest), values in arrays.items():
        if rest:
            parts[part][rest[0]] = values
    return Chunk(status=arrays[STATUS], **parts)


def save_chunk(checkpoint: Checkpoint, name: str, chunk: Chunk) -> None:
    """Write a finished chunk, whole or not at all."""
    named = {
        (part, each): np.asarray(values)
        for part in PARTS
        for each, values in getattr(chunk, part).items()
    }
    checkpoint.save(name, {STATUS: np.asarray(chunk.status), **named})
