"""Files that are whole or not there: written beside the target and moved onto it in one step."""

import contextlib
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from hierjax.errors import FileError


def write_whole(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write the pieces to `path`, replacing an older file in one step.

    Whatever happens on the way (no space, an interrupt, a crash), an older file at `path` stays as
    it was; at worst a hidden `.part` file is left beside it when the process is killed.

    Raises
    ------
    FileError
        The file cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise FileError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was changed there. "
            "Check the folder, its permissions and the free space."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name of a file survive a crash of the machine, where folders can be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
