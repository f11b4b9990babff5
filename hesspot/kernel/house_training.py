"""Derivatives of a loss with respect to the weights of a house model, by the kernel: as through torch, but sooner.

With a number algebra of ε and δ (ε² = δ² = 0) the energies at x + ε v + δ w + εδ λ have wᵀHv + λ·∇E as their part of
εδ. So one pass back to the weights gives the derivatives of all that a loss depends on: energies, gradients, and
products of the Hessian with the direction v. The loss is that of `hesspot_labelled` in hesspot_kernel.h.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from hesspot.kernel import KernelModel, NoKernel
from hesspot.kernel.labelled import Labelled
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
        self._kernel.place_weights(_in_the_order_of_the_kernel(model))

    def add_loss_gradient(
        self, structures: ctypes.Array[Labelled], max_edges: int
    ) -> tuple[float, float, float, float]:
        """Add the gradient of the structures' losses to that of the weights; gives the sums of the terms of energy,
        forces, Hessian and stress. At most `max_edges` edges are evaluated at once."""
        self._kernel.set_weights(self._weights.values.detach())
        return self._kernel.add_loss_gradient(structures, max_edges, self._weights.gradient)


def _in_the_order_of_the_kernel(model: House) -> Tensor:
    """Where the weights that the kernel takes, (n_members, n_elements, n_weights), lie in the flat ones."""

    def places(weights: Tensor) -> Tensor:
        return int(weights.storage_offset()) + torch.arange(weights.numel()).view(weights.shape)

    pieces: list[Tensor] = []
    for number, network in enumerate(model.networks):
        pieces.append(places(model.mix)[:, number % model.n_elements].flatten())
        pieces += [places(each).flatten() for each in network.parameters()]
    return torch.cat(pieces)
