"""Files that appear complete or not at all."""

import os
import tempfile
from pathlib import Path

from hesspot.errors import UserError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` in one step; UserError if its folder does not exist."""
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"folder {path.parent} for {path.name} does not exist; make it first")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
