"""A model in torch as what evaluates graphs in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hesspot.contract import Batch, Model, batch_of
from hesspot.derivatives import evaluate, hessian, hvp
from hesspot.graph import Answer, Graph


class TorchPotential:
    """A `hesspot.graph.Potential` of a model that keeps the contract, in its dtype and on its device."""

    def __init__(self, model: Model, dtype: str, device: Any):
        self.model, self._dtype, self._device = model, getattr(torch, dtype), device

    def answer(self, graph: Graph, atom_virials: bool = False) -> Answer:
        found = evaluate(self.model, self._batch(graph), virial=True, atom_virial=atom_virials)
        assert found.virial is not None
        return Answer(
            float(found.energy[0]),
            _array(found.atom_energies),
            _array(found.forces),
            _array(found.virial)[0],
            None if found.atom_virial is None else _array(found.atom_virial),
        )

    def products(self, graph: Graph, directions: np.ndarray) -> np.ndarray:
        return _array(hvp(self.model, self._batch(graph), torch.from_numpy(np.array(directions, dtype=np.float64))))

    def hessian(self, graph: Graph) -> np.ndarray:
        (matrix,) = hessian(self.model, self._batch(graph))
        return _array(matrix)

    def _batch(self, graph: Graph) -> Batch:
        return batch_of(graph, len(self.model.elements)).to(self._dtype, self._device)


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().cpu().to(torch.float64).numpy()
    return array
