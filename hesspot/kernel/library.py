"""The C functions of hesspot_kernel.h as `ctypes` calls them; nothing of torch."""

from __future__ import annotations

import ctypes
import json
from functools import cache
from typing import Any

from hesspot.compiled import KERNEL_SOURCES, REMEDY, load
from hesspot.errors import UserError

#: What callers of the C functions are compiled with.
HEADERS = [KERNEL_SOURCES / "hesspot_kernel.h"]

POINTER: Any = ctypes.c_void_p

# `hesspot_status` of hesspot_kernel.h
_NO_MEMORY, _NO_KERNEL = 2, 4


class CEdges(ctypes.Structure):
    """`hesspot_edges` of hesspot_kernel.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("n_centers", "n_edges")),
        *((name, POINTER) for name in ("species", "first_edge", "neighbor_species", "vectors")),
    ]


class CGraph(ctypes.Structure):
    """`hesspot_graph` of hesspot_kernel.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_edges")),
        *((name, POINTER) for name in ("species", "first_edge", "neighbors", "vectors")),
    ]


class CSoapStack(ctypes.Structure):
    """`hesspot_soap_stack` of hesspot_kernel.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("count", "rows", "columns", "rank", "transposed")),
        *((name, POINTER) for name in ("weights", "gradient", "left", "right", "mean", "square")),
        *((name, POINTER) for name in ("beyond_mean", "beyond_square", "left_square", "right_square")),
    ]


class Labelled(ctypes.Structure):
    """`hesspot_labelled` of hesspot_kernel.h, which says what it stands for."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_edges")),
        *((name, POINTER) for name in ("species", "centers", "neighbors", "vectors")),
        ("energy", ctypes.c_double),
        *((name, POINTER) for name in ("forces", "virial", "hessian", "metric")),
        ("n_directions", ctypes.c_int64),
        *((name, POINTER) for name in ("directions", "products", "member_weights")),
        *((f"of_{name}", ctypes.c_double) for name in ("energy", "forces", "hessian", "stress")),
        ("direction_share", ctypes.c_double),
    ]


class NoKernel(UserError):
    """A model, or packed weights, that no kernel evaluates."""


@cache
def library() -> ctypes.CDLL:
    library = load(KERNEL_SOURCES, "_kernels", "hesspot_kernel_interface", HEADERS)
    library.hesspot_instruction_sets.restype = ctypes.c_char_p
    library.hesspot_architectures.restype = ctypes.c_char_p
    library.hesspot_version.argtypes = [ctypes.c_char_p]
    library.hesspot_shape.argtypes = [ctypes.c_char_p, ctypes.c_int64, POINTER, POINTER]
    library.hesspot_file_read.argtypes = [
        *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int64),
        *(ctypes.c_char_p, POINTER, POINTER),
    ]
    library.hesspot_file_close.argtypes = [POINTER]
    library.hesspot_file_close.restype = None
    library.hesspot_file_record.argtypes = [POINTER, ctypes.c_char_p, POINTER]
    library.hesspot_file_record.restype = POINTER
    library.hesspot_file_no_kernel.argtypes = [POINTER]
    library.hesspot_file_no_kernel.restype = ctypes.c_char_p
    library.hesspot_file_verify.argtypes = [POINTER] * 4
    library.hesspot_model_new.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int, POINTER, POINTER]
    library.hesspot_model_n_members.argtypes = [POINTER]
    library.hesspot_model_delete.argtypes = [POINTER]
    library.hesspot_model_delete.restype = None
    library.hesspot_model_instructions.argtypes = [POINTER]
    library.hesspot_model_instructions.restype = ctypes.c_char_p
    library.hesspot_model_set_threads.argtypes = [POINTER, ctypes.c_int, POINTER]
    library.hesspot_model_n_weights.argtypes = [POINTER]
    library.hesspot_model_n_descriptors.argtypes = [POINTER]
    library.hesspot_model_descriptors.argtypes = [POINTER] * 4
    for name in ("place", "set"):
        getattr(library, f"hesspot_model_{name}_weights").argtypes = [POINTER] * 3
    library.hesspot_model_add_loss_gradient.argtypes = [POINTER] * 2 + [ctypes.c_int64] * 2 + [POINTER] * 3
    for name in ("evaluate", "members", "hvp"):
        getattr(library, f"hesspot_model_{name}").argtypes = [POINTER] * 5
    library.hesspot_model_answer.argtypes = [POINTER] * 8
    library.hesspot_model_products.argtypes = [POINTER] * 5
    library.hesspot_model_hessian.argtypes = [POINTER] * 4
    library.hesspot_soap_step.argtypes = [
        *(POINTER, ctypes.c_int64, ctypes.c_int),
        *[ctypes.c_double] * 6,
        *(ctypes.c_int, POINTER),
    ]
    for name, structure in (("edges", CEdges), ("graph", CGraph), ("soap_stack", CSoapStack), ("labelled", Labelled)):
        size = getattr(library, f"hesspot_{name}_size")
        size.restype = ctypes.c_int64
        if size() != ctypes.sizeof(structure):
            raise UserError(f"the compiled part {library._name} has another {name} than Python; {REMEDY}")
    return library


def call(function: Any, *arguments: Any) -> None:
    """A function of hesspot_kernel.h; UserError with its sentence, MemoryError if memory ran out."""
    error = ctypes.c_char_p()
    status = function(*arguments, ctypes.byref(error))
    if status == _NO_MEMORY:
        raise MemoryError("the kernel ran out of memory")
    if status:
        raise (NoKernel if status == _NO_KERNEL else UserError)((error.value or b"").decode(errors="replace"))


def instruction_sets() -> list[str]:
    """Those of this processor that kernels are compiled for, the best one first: avx512, avx2, baseline.

    A model takes the first one, or the one that the environment variable HESSPOT_INSTRUCTIONS names when it is made.
    """
    names: bytes = library().hesspot_instruction_sets()
    return names.decode().split()


def magics() -> list[bytes]:
    """The first eight bytes of packed weights of all architectures that have a kernel."""
    names: bytes = library().hesspot_architectures()
    return names.split()


def shape_of(block: bytes) -> dict[str, Any]:
    """What the head of packed weights states: `kernel_version`, `elements`, `cutoff`, and more for each architecture.

    NoKernel for an architecture or a version without a kernel here, UserError for damage.
    """
    text = ctypes.c_char_p()
    call(library().hesspot_shape, block, len(block), ctypes.byref(text))
    shape: dict[str, Any] = json.loads(text.value or b"")
    return shape
