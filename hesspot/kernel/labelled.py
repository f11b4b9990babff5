"""Structures with labels as the kernel's loss takes them."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from hesspot.contract import Batch

_POINTER: Any = ctypes.c_void_p


class Labelled(ctypes.Structure):
    """`hesspot_labelled` of hesspot_kernel.h, which says what it stands for."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_edges")),
        *((name, _POINTER) for name in ("species", "centers", "neighbors", "vectors")),
        ("energy", ctypes.c_double),
        *((name, _POINTER) for name in ("forces", "virial", "hessian", "metric")),
        ("n_directions", ctypes.c_int64),
        *((name, _POINTER) for name in ("directions", "products", "member_weights")),
        *((f"of_{name}", ctypes.c_double) for name in ("energy", "forces", "hessian", "stress")),
        ("direction_share", ctypes.c_double),
    ]


class LabelledGraph:
    """The graph of one structure on the CPU and its labels, laid out once for many steps.

    values: with all labels that are there, no directions, and factors of zero; it points to arrays of this object.
    """

    def __init__(self, graph: Batch, energy: float, **labels: Tensor | None):
        """labels: those of `Labelled`, float64."""
        arrays = {name: getattr(graph, name) for name in ("species", "centers", "neighbors")}
        arrays |= {
            name: each.to(torch.float64)
            for name, each in {"vectors": graph.vectors, **labels}.items()
            if each is not None
        }
        self._kept = {name: each.contiguous() for name, each in arrays.items()}
        self.values = Labelled(n_atoms=graph.n_atoms, n_edges=graph.n_edges, energy=energy)
        for name, each in self._kept.items():
            setattr(self.values, name, each.data_ptr())
