"""Files that appear complete or not at all, and files of settings."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hesspot.errors import UserError

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


def read_yaml(path: Path, kind: str, page: str) -> dict[str, Any]:
    """The keys of a YAML file; UserError, in which it is a `kind` that `page` of the documentation shows."""
    if not path.is_file():
        raise UserError(f"{kind} {path} does not exist; {page} shows one")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{kind} {path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{kind} {path} holds no keys; {page} shows one")
    return content
