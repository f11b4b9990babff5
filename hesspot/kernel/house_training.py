"""Derivatives with respect to the weights of a house model, by the kernel: what training through torch gives, sooner.

With a number algebra of ε and δ (ε² = δ² = 0) the energies at x + ε v + δ w + εδ λ have wᵀHv + λ·∇E as their part of
εδ. So one pass back to the weights gives the derivatives of all that a loss depends on: energies, gradients, and
products of the Hessian with the direction v; `add_weight_gradient` of hesspot_kernel.h says the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hesspot.contract import Batch
from hesspot.derivatives import Answers, Differentiable, along_edges, joined, of_edges
from hesspot.kernel import Edges, KernelModel, NoKernel
from hesspot.models.flat_weights import FlatWeights
from hesspot.models.house import House


def what_training_lacks(model: Any) -> str | None:
    """Why the kernel cannot train a model, or None."""
    if not isinstance(model, House):
        return f"the kernel trains house models and committees of them, and this is a {type(model).__name__}"
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return "the kernel trains on the CPU only"
    if any(parameter.dtype != torch.float64 for parameter in model.parameters()):
        return "the kernel trains in float64 only"
    try:
        KernelModel.of(model)
    except NoKernel as error:
        return str(error)
    return None


class TrainedHouse:
    """A house model or committee, float64 on the CPU, whose gradients the kernel computes. threads: they share centres.

    weights: of the model, which become views of them. NoKernel if there is no kernel for the model.
    """

    def __init__(self, model: House, weights: FlatWeights, threads: int = 1):
        self._kernel = KernelModel.of(model)
        self._kernel.set_threads(threads)
        self._weights = weights
        self._places = _in_the_order_of_the_kernel(model)

    def answers(
        self, batch: Batch, *, forces: bool = True, directions: Tensor | None = None, virial: bool = False
    ) -> Answers:
        """As `hesspot.derivatives.answers`; a single model is a committee of one."""
        edges = self._kernel.edges(batch.species, batch.centers, batch.neighbors)
        self._kernel.set_weights(self._weights.values.detach()[self._places])
        along = along_edges(directions, batch)
        products: list[Tensor] = []
        if along is None:
            energies, gradients = edges.members(batch.vectors)
        else:
            energies, gradients, first = edges.differentiate(batch.vectors, along[0])
            products = [first, *(edges.products(batch.vectors, direction) for direction in along[1:])]
        members = [
            joined(
                energies[m],
                gradients[m] if forces or virial or products else None,
                [each[m] for each in products],
                batch,
                virial,
            )
            for m in range(self._kernel.n_members)
        ]
        return Answers(members, lambda slopes: self._add_gradient(edges, batch, along, slopes))

    def _add_gradient(self, edges: Edges, batch: Batch, along: Tensor | None, slopes: Sequence[Differentiable]) -> None:
        n_elements = len(self._kernel.elements)
        sums = torch.zeros(len(slopes), n_elements, self._kernel.n_weights, dtype=torch.float64)
        for member, (slope, own) in enumerate(zip(slopes, sums, strict=True)):
            of_energies, of_gradient, of_products = of_edges(slope, batch)
            if along is None or of_products is None:
                edges.add_weight_gradient(batch.vectors, None, member, of_energies, of_gradient, None, own)
                continue
            for number, (direction, of_product) in enumerate(zip(along, of_products, strict=True)):
                of_energy, of_slope = (of_energies, of_gradient) if number == 0 else (None, None)
                edges.add_weight_gradient(batch.vectors, direction, member, of_energy, of_slope, of_product, own)
        self._weights.gradient.index_add_(0, self._places, sums.flatten())


def _in_the_order_of_the_kernel(model: House) -> Tensor:
    """Where the weights that the kernel takes, (n_members, n_elements, n_weights), lie in the flat ones."""

    def places(weights: Tensor) -> Tensor:
        return int(weights.storage_offset()) + torch.arange(weights.numel()).view(weights.shape)

    pieces: list[Tensor] = []
    for number, network in enumerate(model.networks):
        pieces.append(places(model.mix)[:, number % model.n_elements].flatten())
        pieces += [places(each).flatten() for each in network.parameters()]
    return torch.cat(pieces)
