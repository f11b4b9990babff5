"""Files that appear complete or not at all, and what files hold."""

import errno
import fcntl
import os
import secrets
import socket
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


def require_file(path: Path, what: str, remedy: str) -> None:
    """UserError unless `path`, which should be a `what`, is a file that can be opened."""
    if path.is_dir():
        raise UserError(f"{what} {path} is a folder; {remedy}")
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise UserError(f"{what} {path} does not exist; {remedy}") from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise UserError(f"{what} {path} cannot be opened: {reason}; check the path and its permissions") from error


def require_text(path: Path, what: str, remedy: str) -> None:
    """UserError unless `path`, which should be a `what`, is a text file that can be opened."""
    require_file(path, what, remedy)
    if (found := contents_of(path)) not in ("text", "an empty file"):
        raise UserError(f"{path} is {found}, and no {what}; {remedy}")


def require_free(path: Path, overwrite: bool) -> None:
    """UserError if a result cannot get the name `path`: without its folder, or where it would replace another.

    overwrite: a file may be replaced.
    """
    if not path.absolute().parent.is_dir():
        raise UserError(f"folder {path.parent} for {path.name} does not exist; make it first")
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; pass --overwrite to replace it, or choose another name")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UserError(f"folder {path.absolute().parent} for {path.name} cannot be written: check its permissions")


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


@contextmanager
def held(folder: str | Path, what: str) -> Iterator[None]:
    """Hold a folder, which is made, for this process alone; UserError if another one holds it.

    It is free again when the block or the process ends, however that ends. `what` begins the sentence, as in "the run".
    """
    folder = Path(folder)
    lock = _lock_of(folder, what)
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _lock_of(folder: Path, what: str) -> int:
    """A locked file in the folder."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"folder {folder} cannot be written ({error}); choose another --out") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 100, 0).decode(errors="replace").strip()
            os.close(lock)
            raise UserError(
                f"{what} in {folder} is being written by another process ({holder}); wait until it has ended, or "
                "choose another --out"
            ) from None
        except OSError:  # a file system without locks
            return lock
        if (folder / ".lock").exists() and os.path.samestat(os.fstat(lock), (folder / ".lock").stat()):
            return lock
        os.close(lock)  # whoever held the folder has removed it just now


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
    if b"\0" in head:
        return "a binary file"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character may be cut at the end
            return "text that is not UTF-8" if _is_printable(head) else "a binary file"
    return "text"


def _is_printable(head: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in head)
