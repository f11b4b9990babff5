"""The compiled parts: libraries that are built from the C++ sources beside them and opened with `ctypes`."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hesspot.errors import UserError

#: The folder of the kernels' C++ sources, which the LAMMPS plugin is compiled from as well.
KERNEL_SOURCES = Path(__file__).parent / "kernel"

#: What builds them again, whatever make or pip believe to be done, or brings those that belong together.
REMEDY = (
    "in the checkout of hesspot run `python -m pip install --no-build-isolation --no-deps -e .` and start again"
    if (KERNEL_SOURCES.parents[1] / "setup.py").is_file()
    else "install hesspot again, from a wheel for this system or, with g++ 11 or newer, from its sources"
)


def load(folder: Path, name: str, interface: str, headers: Sequence[Path]) -> ctypes.CDLL:
    """The library `name`.so in `folder`, or in the folder that the variable HESSPOT_LIBRARIES names.

    interface: its function that tells what the library was compiled with: the SHA-256 of those of `headers`. UserError
    if the library is not there, or if the headers have changed since: arguments would be misread.
    """
    path = Path(os.environ.get("HESSPOT_LIBRARIES") or folder) / f"{name}.so"
    if not path.is_file():
        raise UserError(f"the compiled part {path} is not there; {REMEDY}")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(f"the compiled part {path} cannot be opened ({error}); {REMEDY}") from error
    compiled_with = getattr(library, interface, None)
    if compiled_with is not None:
        compiled_with.restype = ctypes.c_char_p
    digests = "".join(hashlib.sha256(header.read_bytes()).hexdigest() for header in headers)
    if compiled_with is None or compiled_with() != hashlib.sha256(digests.encode()).hexdigest().encode():
        raise UserError(f"the compiled part {path} is of another version than the code beside it; {REMEDY}")
    return library


def address(function: Any) -> int:
    """Of a function of a library, for C code that calls it."""
    value = ctypes.cast(function, ctypes.c_void_p).value
    assert value is not None
    return value
