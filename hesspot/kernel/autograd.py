"""A kernel in torch's graph: its derivatives of first and second order, and so whatever torch makes of them."""

from __future__ import annotations

import ctypes
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hesspot.errors import UserError
from hesspot.kernel.library import CEdges, call


class Edges:
    """The part of a call that is not differentiated. Vectors and directions are (n_edges, 3)."""

    @classmethod
    def of(cls, model: Any, species: Tensor, centers: Tensor, neighbors: Tensor) -> Self:
        """For a `KernelModel`; UserError for what is not as the contract says."""
        n_atoms, n_edges = len(_checked("species", species, "n_atoms")), len(_checked("centers", centers, "n_edges"))
        if len(_checked("neighbors", neighbors, "n_edges")) != n_edges:
            raise UserError(f"there are {n_edges} centers of edges, but {len(neighbors)} neighbors; give one each")
        # NumPy takes a fraction of torch's time for arrays of a small molecule
        begins, ends = centers.numpy(), neighbors.numpy()
        if n_edges:
            if (begins[1:] < begins[:-1]).any():
                raise UserError("the kernel needs edges that are sorted by centre; sort them by `centers`")
            for name, first, last in (("centers", begins[0], begins[-1]), ("neighbors", ends.min(), ends.max())):
                if first < 0 or last >= n_atoms:
                    raise UserError(f"{name} go from {first} to {last}, but there are {n_atoms} atoms to point to")
        first_edge = torch.from_numpy(begins.searchsorted(np.arange(n_atoms + 1)))
        return cls(model, species.contiguous(), centers, first_edge, species[neighbors])

    def __init__(self, model: Any, species: Tensor, centers: Tensor, first_edge: Tensor, neighbors: Tensor):
        self.model, self.centers = model, centers
        self._kept = species, first_edge, neighbors
        self._n_centers, self._n_edges = len(species), len(neighbors)

    def energies(self, vectors: Tensor) -> Tensor:
        """Of the centres, joined to torch's graph, (n_centers,) float64."""
        energies: Tensor = _Energies.apply(vectors, self)
        return energies

    def member_energies(self, vectors: Tensor) -> Tensor:
        """Of each member and centre, joined to torch's graph, (n_members, n_centers) float64."""
        energies: Tensor = _MemberEnergies.apply(vectors, self)
        return energies

    def evaluate(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n_centers,) and gradient (n_edges, 3), float64."""
        energies, gradient = torch.empty(self._n_centers, dtype=torch.float64), self._empty()
        self._call("evaluate", self._plain("vectors", vectors), energies, gradient)
        return energies, gradient

    def members(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Of each member: energies (n_members, n_centers) and gradient (n_members, n_edges, 3), float64."""
        n_members = self.model.n_members
        energies = torch.empty(n_members, self._n_centers, dtype=torch.float64)
        gradient = self._empty(n_members)
        self._call("members", self._plain("vectors", vectors), energies, gradient)
        return energies, gradient

    def hvp(self, vectors: Tensor, directions: Tensor) -> Tensor:
        """Σ over each centre's own Hessian times directions (n_edges, 3), float64."""
        products = self._empty()
        self._call("hvp", self._plain("vectors", vectors), self._plain("directions", directions), products)
        return products

    def _empty(self, *members: int) -> Tensor:
        return torch.empty(*members, self._n_edges, 3, dtype=torch.float64)

    def _plain(self, name: str, values: Tensor) -> Tensor:
        if not values.is_floating_point() or values.shape != (self._n_edges, 3) or values.device.type != "cpu":
            raise UserError(
                f"{name} are {values.dtype} of shape {tuple(values.shape)} on {values.device}; the kernel takes "
                f"floating-point numbers of shape ({self._n_edges}, 3), one row for each edge, on cpu"
            )
        return values.detach().to(torch.float64).contiguous()

    def _call(self, name: str, vectors: Tensor, *arguments: Tensor | int | None) -> None:
        edges = CEdges(self._n_centers, self._n_edges, *(array.data_ptr() for array in (*self._kept, vectors)))
        function = getattr(self.model._library, f"hesspot_model_{name}")
        others = [each.data_ptr() if isinstance(each, Tensor) else each for each in arguments]
        call(function, self.model.pointer, ctypes.byref(edges), *others)


class _Energies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, graph: Edges) -> Tensor:
        energies, gradient = graph.evaluate(vectors)
        ctx.save_for_backward(vectors, gradient.to(vectors.dtype))
        ctx.graph = graph
        return energies

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor, None]:
        vectors, gradient = ctx.saved_tensors
        return _Gradient.apply(vectors, gradient, weights[0].to(vectors.dtype), ctx.graph), None


class _Gradient(torch.autograd.Function):
    """g of each edge times the weight of its centre's energy."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, gradient: Tensor, weights: Tensor, graph: Edges) -> Tensor:
        ctx.save_for_backward(vectors, gradient, weights)
        ctx.graph = graph
        return gradient * weights[graph.centers].unsqueeze(1)

    @staticmethod
    def backward(ctx: Any, *directions: Tensor) -> tuple[Tensor, None, Tensor, None]:
        vectors, gradient, weights = ctx.saved_tensors
        products, in_weights = _Product.apply(vectors, gradient, weights, directions[0], ctx.graph)
        return products, None, in_weights, None


class _Product(torch.autograd.Function):
    """The derivatives of Σ gradient·directions: with respect to the vectors, and to the weights of the energies."""

    @staticmethod
    def forward(
        ctx: Any, vectors: Tensor, gradient: Tensor, weights: Tensor, directions: Tensor, graph: Edges
    ) -> tuple[Tensor, Tensor]:
        products = graph.hvp(vectors, directions * weights[graph.centers].unsqueeze(1)).to(vectors.dtype)
        along = (gradient * directions).sum(1)
        return products, torch.zeros_like(weights).index_add(0, graph.centers, along)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("kernels have no third derivatives; use the torchscript backend")


class _MemberEnergies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, graph: Edges) -> Tensor:
        energies, gradient = graph.members(vectors)
        ctx.save_for_backward(gradient.to(vectors.dtype))
        ctx.graph = graph
        return energies

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator]
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        of_edges = weights[0].to(gradient.dtype)[:, ctx.graph.centers]
        return (gradient * of_edges.unsqueeze(2)).sum(0), None


def _checked(name: str, indices: Tensor, size: str) -> Tensor:
    if indices.dtype != torch.int64 or indices.dim() != 1 or indices.device.type != "cpu":
        raise UserError(
            f"{name} are {indices.dtype} of shape {tuple(indices.shape)} on {indices.device}; the kernel takes "
            f"torch.int64 of shape ({size},) on cpu"
        )
    return indices
