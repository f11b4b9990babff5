"""The compiled part of the driver, and its structures in `ctypes`. No torch here: the front process has none."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

from hesspot.compiled import REMEDY, load
from hesspot.errors import UserError

_HERE = Path(__file__).parent
_HEADERS = [_HERE.parents[1] / "hesspot" / "kernel" / "hesspot_kernel.h", _HERE / "edges.h", _HERE / "fast_lane.h"]
_KINDS: Mapping[str, Any] = {"i": ctypes.c_int64, "d": ctypes.c_double, "p": ctypes.c_void_p}


class Status(IntEnum):
    """`Status` of edges.h."""

    DONE = 0
    STALE = 1
    COINCIDENT = 2
    NOT_FINITE = 3
    NO_MEMORY = 4
    INVALID = 5
    FAILED = 6
    LONE = 7


class Step(IntEnum):
    """`Step` of fast_lane.h."""

    UNUSUAL = 0
    ANSWERED = 1
    INTERRUPTED = 2


@cache
def library() -> ctypes.CDLL:
    """The library; UserError if it is not there or does not fit."""
    loaded = load(_HERE, "_steps", "hesspot_driver_interface", _HEADERS)
    loaded.hesspot_driver_layout.restype = ctypes.c_char_p
    for name in ("check", "find", "sum", "evaluate"):
        getattr(loaded, f"hesspot_edges_{name}").restype = None
    for name in ("front", "worker"):
        getattr(loaded, f"hesspot_{name}_step").restype = ctypes.c_int64
    return loaded


@cache
def structures() -> Mapping[str, Any]:
    """Those of edges.h and fast_lane.h by their names, made from what the library says of them.

    UserError if its enumerations are not those above, or if a structure would lie in another way here.
    """
    text: bytes = library().hesspot_driver_layout()
    found: dict[str, Any] = {}
    for line in text.decode().splitlines()[1:]:
        name, size, *words = line.split()
        enumeration = {"Status": Status, "Step": Step}.get(name)
        if enumeration is not None:
            values = dict(zip(words[::2], map(int, words[1::2]), strict=True))
            _need({entry.name: entry.value for entry in enumeration} == values, name)
            continue
        members = list(zip(words[::3], words[1::3], map(int, words[2::3]), strict=True))
        made = type(name, (ctypes.Structure,), {"_fields_": [(member, _KINDS[kind]) for member, kind, _ in members]})
        _need(ctypes.sizeof(made) == int(size), name)
        for member, _, offset in members:
            _need(getattr(made, member).offset == offset, f"{name}.{member}")
        found[name] = made
    return found


def _need(fits: bool, what: str) -> None:
    if not fits:
        raise UserError(f"{what} in the compiled part of the i-PI driver is not what Python takes it for; {REMEDY}")
