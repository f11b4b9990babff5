"""Derivatives with respect to the weights of a house model, by the kernel: what training through torch gives, sooner.

With a number algebra of ε and δ (ε² = δ² = 0) the energies at x + ε v + δ w + εδ λ have wᵀHv + λ·∇E as their part of
εδ. So one pass back to the weights gives the derivatives of all that a loss depends on: energies, gradients, and
products of the Hessian with the direction v; `add_weight_gradient` of hesspot_kernel.h says the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hesspot.contract import Batch
from hesspot.derivatives import Differentiable, along_edges, joined
from hesspot.kernel import Edges, KernelModel, NoKernel
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

    NoKernel if there is no kernel for the model.
    """

    def __init__(self, model: House, threads: int = 1):
        self._kernel = KernelModel.of(model)
        self._kernel.set_threads(threads)
        self._mix: Tensor = model.mix
        self._networks = [list(network.parameters()) for network in model.networks]
        #: In the order of `model.parameters()`.
        self.parameters: list[Tensor] = [self._mix, *(each for network in self._networks for each in network)]
        n_mix = self._mix[:, 0].numel()
        self._sizes = [size for network in self._networks for size in (n_mix, *(each.numel() for each in network))]

    def differentiable_members(
        self, batch: Batch, *, forces: bool = True, directions: Tensor | None = None, virial: bool = False
    ) -> list[Differentiable]:
        """As `hesspot.derivatives.differentiable_members`; a single model is a committee of one."""
        edges = self._kernel.edges(batch.species, batch.centers, batch.neighbors)
        self._kernel.set_weights(self._weights())
        along = along_edges(directions, batch)
        energies, gradients, products = _Answers.apply(self, edges, batch.vectors, along, *self.parameters)
        if not (forces or virial or along is not None):
            return [joined(each, None, [], batch, False) for each in energies]
        return [
            joined(energies[m], gradients[m], [] if along is None else list(products[m]), batch, virial)
            for m in range(self._kernel.n_members)
        ]

    def weight_gradient(
        self, edges: Edges, vectors: Tensor, along: Tensor | None, slopes: tuple[Tensor | None, ...]
    ) -> list[Tensor]:
        """Of the sum whose derivatives with respect to energies, gradients and products are `slopes`: one tensor for
        each of the parameters."""
        of_energies, of_gradients, of_products = slopes
        n_members, n_elements = self._kernel.n_members, len(self._kernel.elements)
        sums = torch.zeros(n_members, n_elements, self._kernel.n_weights, dtype=torch.float64)
        for member, own in enumerate(sums):
            energies, gradient = (None if each is None else each[member] for each in (of_energies, of_gradients))
            if along is None or of_products is None:
                edges.add_weight_gradient(vectors, None, member, energies, gradient, None, own)
                continue
            for direction, of_product in zip(along, of_products[member], strict=True):
                edges.add_weight_gradient(vectors, direction, member, energies, gradient, of_product, own)
                energies = gradient = None
        return self._unpacked(sums)

    def _weights(self) -> Tensor:
        """As the kernel takes them, (n_members · n_elements · n_weights,)."""
        mix = self._mix.detach().transpose(0, 1).flatten(1)
        pieces: list[Tensor] = []
        for number, network in enumerate(self._networks):
            pieces.append(mix[number % len(mix)])
            pieces += [each.detach().flatten() for each in network]
        return torch.cat(pieces)

    def _unpacked(self, sums: Tensor) -> list[Tensor]:
        """Derivatives with respect to `parameters` from those of the kernel."""
        n_ranks, n_elements, n_slots, n_channels = self._mix.shape
        pieces = iter(sums.flatten().split(self._sizes))
        mixes, others = [], []
        for network in self._networks:
            mixes.append(next(pieces))
            others += [next(pieces).view(each.shape) for each in network]
        mix = torch.stack(mixes).view(-1, n_elements, n_ranks, n_slots, n_channels).sum(0).transpose(0, 1)
        return [mix, *others]


class _Answers(torch.autograd.Function):
    """Energies (n_members, n_atoms), gradients (n_members, n_edges, 3), products (n_members, k, n_edges, 3)."""

    @staticmethod
    def forward(
        ctx: Any, trained: TrainedHouse, edges: Edges, vectors: Tensor, along: Tensor | None, *_: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        ctx.trained, ctx.edges, ctx.vectors, ctx.along = trained, edges, vectors, along
        ctx.set_materialize_grads(False)
        if along is None:
            return *edges.members(vectors), None
        energies, gradients, first = edges.differentiate(vectors, along[0])
        more = [edges.products(vectors, direction) for direction in along[1:]]
        return energies, gradients, torch.stack([first, *more], dim=1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> Any:
        return None, None, None, None, *ctx.trained.weight_gradient(ctx.edges, ctx.vectors, ctx.along, slopes)
