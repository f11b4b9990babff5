"""An exported file, which the C++ library reads and checks without running any of its code (docs/export.md)."""

from __future__ import annotations

import ctypes
import weakref

from hesspot.kernel import KernelModel
from hesspot.kernel.library import POINTER, call, library

#: HESSPOT_ABI of hesspot_kernel.h.
ABI = 2


class ModelFile:
    """The content of a file; `name` stands for it in messages.

    no_kernel: why no kernel here evaluates it, None if one does. UserError, one sentence, for what is no model file, is
    damaged or changed, or has a newer format.
    """

    def __init__(self, content: bytes, name: str):
        pointer = POINTER()
        call(library().hesspot_file_read, ABI, content, len(content), name.encode(), ctypes.byref(pointer))
        self._pointer: int = pointer.value or 0
        weakref.finalize(self, library().hesspot_file_close, self._pointer)
        reason: bytes | None = library().hesspot_file_no_kernel(self._pointer)
        self.no_kernel = None if reason is None else reason.decode(errors="replace")

    def record(self, name: str) -> bytes | None:
        """One of the records, such as `extra/hesspot.json`; None if there is none of that name."""
        size = ctypes.c_int64()
        data = library().hesspot_file_record(self._pointer, name.encode(), ctypes.byref(size))
        return None if data is None else ctypes.string_at(data, size.value)

    def deviations(self, model: KernelModel) -> tuple[float, ...]:
        """How far a model in memory is from the fingerprint: eV per atom, eV/Å, eV and, of H·v, eV/Å².

        UserError for more than rounding.
        """
        found = (ctypes.c_double * 4)()
        call(library().hesspot_file_verify, self._pointer, model.pointer, found)
        return tuple(found)
