"""Files that appear complete or not at all, and what files hold."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """A temporary file to be written in the block; it becomes `path` when the block ends well, and is on the disk then.

    A file that is replaced keeps its permissions, a new one has those of the umask; a link stays, and its target is
    replaced; devices and pipes are written to. UserError if the folder does not exist, or if it is full: the file that
    was there stays.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"folder {path.parent} for {path.name} does not exist; make it first")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, path.name)
            path.write_bytes(Path(folder, path.name).read_bytes())
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{target.stem}{secrets.token_hex(4)}.part")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))
    try:
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        with writing(path):
            yield temporary
            _to_disk(temporary)
        os.replace(temporary, target)
        with suppress(OSError):  # not every file system can do that to a folder
            _to_disk(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Return when what was written to a file or changed in a folder would survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` in one step; UserError as of `replacing`."""
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
