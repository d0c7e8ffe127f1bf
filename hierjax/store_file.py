"""Files that are whole or not there: sealed contents, written beside the target and moved onto it.

A seal is a fixed word and the SHA-256 of everything before it, at the end of the file. HDF5 readers
do not look behind their own data, so that a sealed NetCDF file is a NetCDF file to every program;
ours sees a changed or missing byte before it parses any.
"""

import hashlib
from pathlib import Path

from hierjax.errors import FileError
from hierjax.files import write_whole

SEAL = b"hierjax sealed\n\0"
SEAL_LENGTH = len(SEAL) + hashlib.sha256().digest_size
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def write_sealed(path: Path, content: bytes | memoryview) -> None:
    """Write `content` and its seal to `path`, whole or not at all; raises as `write_whole`."""
    write_whole(path, (content, SEAL, hashlib.sha256(content).digest()))


def read_sealed(path: Path) -> bytes:
    """Return the content of a file that `write_sealed` wrote, after checking its seal.

    Raises
    ------
    FileError
        There is no such file, it is of another kind, it was cut short, or bytes of it changed.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        raise FileError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not whole.startswith(HDF5_SIGNATURE):
        raise FileError(
            f"{path}: is not a posterior that hierjax saved (it is not a NetCDF 4 file at all)."
        )
    content, seal = whole[:-SEAL_LENGTH], whole[-SEAL_LENGTH:]
    if not seal.startswith(SEAL):
        raise FileError(
            f"{path}: has no seal at its end: it was cut short (an incomplete copy or download?), "
            "or another program wrote it. Copy it again, or use a posterior that hierjax saved."
        )
    if hashlib.sha256(content).digest() != seal[len(SEAL) :]:
        raise FileError(
            f"{path}: is damaged: its bytes do not have the checksum that they were saved with. "
            "Copy it again from where it was made."
        )
    return content
