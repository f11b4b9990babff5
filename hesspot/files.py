"""Files that appear complete or not at all, and what files hold."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hesspot.errors import UserError

#: How files begin that are taken for one another.
_BEGINNINGS = {
    b"\x89HDF\r\n\x1a\n": "a dataset",
    b"PK\x03\x04": "a model file or a checkpoint",
    b"\x89PNG": "a picture",
    b"\x7fELF": "a program",
}

#: A full disk, a full quota, a limit on the size of files.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where `path` is written: a full disk becomes a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(f"{path} cannot be written ({error.strerror}); make room, then start again") from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` to be written in the block; it becomes `path` when the block ends well.

    UserError if the folder does not exist, or if it is full: the file that was there stays.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"folder {path.parent} for {path.name} does not exist; make it first")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        with writing(path):
            yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` in one step; UserError if its folder does not exist."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def contents_of(path: Path) -> str:
    """What a path seems to hold, in words: `a dataset`, `a picture`, `text`, …"""
    if path.is_dir():
        return "a folder"
    with path.open("rb") as stream:
        head = stream.read(512)
    for start, words in _BEGINNINGS.items():
        if head.startswith(start):
            return words
    if not head:
        return "an empty file"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.end < len(head) - 3:  # a character may be cut at the end
            return "a binary file"
    return "a binary file" if b"\0" in head else "text"
