"""Structures with labels as the kernel's loss takes them."""

from __future__ import annotations

import torch
from torch import Tensor

from hesspot.contract import Batch
from hesspot.kernel.library import Labelled


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
