"""Derivatives with respect to the weights of a house model, by the kernel: what training through torch gives, sooner.

With a number algebra of ε and δ (ε² = δ² = 0) the energies at x + ε v + δ w + εδ λ have wᵀHv + λ·∇E as their part of
εδ. So one pass back to the weights gives the derivatives of all that a loss depends on: energies, gradients, and
products of the Hessian with the direction v; `add_weight_gradient` of hesspot_kernel.h says the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hesspot.contract import Batch
from hesspot.derivatives import Differentiable, along_edges, joined
from hesspot.kernel import Edges, KernelModel, NoKernel, packed
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
        packed(model)
    except NoKernel as error:
        return str(error)
    return None


class TrainedHouse:
    """A house model or committee, float64 on the CPU, whose gradients the kernel computes. threads: they share centres.

    NoKernel if there is no kernel for the model.
    """

    def __init__(self, model: House, threads: int = 1):
        self.model = model
        self._kernel = KernelModel.of(model)
        self._kernel.set_threads(threads)

    def parameters(self) -> list[Tensor]:
        return list(self.model.parameters())

    def differentiable_members(
        self, batch: Batch, *, forces: bool = True, directions: Tensor | None = None, virial: bool = False
    ) -> list[Differentiable]:
        """As `hesspot.derivatives.differentiable_members`; a single model is a committee of one."""
        edges = self._kernel.edges(batch.species, batch.centers, batch.neighbors)
        self._kernel.set_weights(_weights_of(self.model))
        along = along_edges(directions, batch)
        energies, gradients, products = _Answers.apply(self, edges, batch.vectors, along, *self.parameters())
        if not (forces or virial or along is not None):
            return [joined(each, None, [], batch, False) for each in energies]
        return [
            joined(energies[m], gradients[m], [] if along is None else list(products[m]), batch, virial)
            for m in range(self.model.n_members)
        ]

    def weight_gradient(
        self, edges: Edges, vectors: Tensor, along: Tensor | None, slopes: tuple[Tensor | None, ...]
    ) -> list[Tensor]:
        """Of the sum whose derivatives with respect to energies, gradients and products are `slopes`: one tensor for
        each of the parameters."""
        of_energies, of_gradients, of_products = slopes
        sums = torch.zeros(self.model.n_members, self.model.n_elements, self._kernel.n_weights, dtype=torch.float64)
        for member, own in enumerate(sums):
            energies, gradient = (None if each is None else each[member] for each in (of_energies, of_gradients))
            if along is None or of_products is None:
                edges.add_weight_gradient(vectors, None, member, energies, gradient, None, own)
                continue
            for direction, of_product in zip(along, of_products[member], strict=True):
                edges.add_weight_gradient(vectors, direction, member, energies, gradient, of_product, own)
                energies = gradient = None
        return list(_unpacked(self.model, sums))


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


def _pieces(model: House) -> Iterator[tuple[int, int, Tensor]]:
    """Member, element and tensor of all weights of the networks, as `parameters` and the kernel order them."""
    for number, network in enumerate(model.networks):
        member, element = divmod(number, model.n_elements)
        for parameter in network.parameters():
            yield member, element, parameter


def _weights_of(model: House) -> Tensor:
    """The weights (n_members, n_elements, n_weights) of the kernel."""
    mix = model.mix.detach().transpose(0, 1).flatten(1)
    rows: list[Tensor] = []
    last = None
    for member, element, parameter in _pieces(model):
        if (member, element) != last:
            rows.append(mix[element])
            last = member, element
        rows.append(parameter.detach().flatten())
    return torch.cat(rows)


def _unpacked(model: House, sums: Tensor) -> Iterator[Tensor]:
    """Derivatives with respect to `model.parameters()`, in their order, from those of the kernel."""
    n_ranks, n_elements, n_slots, n_channels = model.mix.shape
    n_mix = n_ranks * n_slots * n_channels
    yield sums[:, :, :n_mix].sum(0).reshape(n_elements, n_ranks, n_slots, n_channels).transpose(0, 1)
    last, first = None, n_mix
    for member, element, parameter in _pieces(model):
        first = first if (member, element) == last else n_mix
        last = member, element
        yield sums[member, element, first : first + parameter.numel()].reshape(parameter.shape)
        first += parameter.numel()
