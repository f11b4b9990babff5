"""The compiled part of the driver, `edges.cpp` and `fast_lane.cpp`. No torch here: the front process has none."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from hesspot.errors import UserError

_HERE = Path(__file__).parent
_ANSWERS = {
    "hesspot_edges_find": None,
    "hesspot_edges_sum": None,
    "hesspot_edges_evaluate": None,
    "hesspot_front_step": ctypes.c_int64,
    "hesspot_worker_step": ctypes.c_int64,
}


@cache
def library() -> ctypes.CDLL:
    """The library; UserError if it is not there."""
    found = sorted(_HERE.glob("_steps*.so"))
    if not found:
        raise UserError(f"the compiled part of the i-PI driver is not in {_HERE}; install hesspot again with pip")
    loaded = ctypes.CDLL(str(found[0]))
    for name, kind in _ANSWERS.items():
        getattr(loaded, name).restype = kind
    return loaded
