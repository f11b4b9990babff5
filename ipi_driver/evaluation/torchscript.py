"""A model file's TorchScript over the driver's edges, on any device of torch."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from hesspot.contract import Batch, Model
from hesspot.derivatives import edge_gradient
from hesspot.export import LoadedModel
from hesspot.models.ensemble import Member
from ipi_driver.evaluation.edges import Edges


class TorchScript:
    """The model, or each of its `n_members` members, 0 for the model as a whole."""

    def __init__(self, model: LoadedModel, n_members: int):
        script = model.module
        self._models: list[Model] = [Member(script, number) for number in range(n_members)] or [script]
        self._n_elements = len(model.elements)
        self._dtype, self._device = getattr(torch, model.dtype), torch.device(model.device)
        self._whole: tuple[Edges, Batch] | None = None

    def __call__(self, edges: Edges) -> tuple[np.ndarray, np.ndarray, float]:
        """Energies and gradient as `Edges.sum` takes them, and the CPU time of this thread in the model."""
        batch = self._batch(edges)
        start = time.thread_time()
        values = [edge_gradient(model, batch) for model in self._models]
        seconds = time.thread_time() - start
        energies, gradient = (torch.stack(part).to("cpu", torch.float64).numpy() for part in zip(*values, strict=True))
        return energies[:, : edges.last - edges.first], gradient, seconds

    def _batch(self, edges: Edges) -> Batch:
        """The edges within the cutoff as a model takes them; while these are all edges, only vectors are new."""
        if edges.n_near < len(edges.neighbors):
            return self._new_batch(edges)
        if self._whole is None or self._whole[0] is not edges:
            self._whole = edges, self._new_batch(edges)
        return replace(self._whole[1], vectors=torch.tensor(edges.vectors).to(self._device, self._dtype))

    def _new_batch(self, edges: Edges) -> Batch:
        """The same made anew. With some centres only, stand-ins, one for each element, take the place of neighbours."""
        centers, neighbors, species = edges.centers[edges.near], edges.neighbors[edges.near], edges.species
        n_own = edges.last - edges.first
        if n_own < len(species):
            neighbors = n_own + species[neighbors]
            species = np.concatenate([species[edges.first : edges.last], np.arange(self._n_elements)])
        return Batch(
            species=torch.from_numpy(species).to(self._device),
            centers=torch.from_numpy(centers - edges.first).to(self._device),
            neighbors=torch.from_numpy(neighbors).to(self._device),
            vectors=torch.tensor(edges.vectors).to(self._device, self._dtype),
            structure=torch.zeros(len(species), dtype=torch.int64, device=self._device),
            n_structures=1,
            n_elements=self._n_elements,
        )
